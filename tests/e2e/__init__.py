"""What runs as a whole, over real sockets."""

import pytest

pytest.register_assert_rewrite("tests.e2e.books")  # else its asserts tell nothing of what they compared
