"""The reading of expressions, which the other tests here rely on."""

from tests.deploy.promql import metrics_of, metrics_of_the_page, values_of


def test_metrics_are_told_from_functions_labels_and_words() -> None:
    expression = """
        sum by (job, le) (rate(a_total{x="y", z=~"b|c"}[5m] offset 1h)) # d
          / on (job) group_left () (e:f:g > bool 0.5) unless count without(h) (i) or vector(0) * 1e3
    """
    assert metrics_of(expression) == {"a_total", "e:f:g", "i"}


def test_values_of_a_label_are_found_in_every_kind_of_comparison() -> None:
    expression = 'a{x="b", y="no"} + c{x=~"d|e", x!="f"} + g{x=~".+"}'
    assert values_of(expression, "x") == {"b", "d", "e", "f"}


def test_metrics_without_a_sample_are_known_too() -> None:
    names = metrics_of_the_page()
    assert {"avala_proxy_errors_total", "avala_proxy_limit_paused", "process_open_fds"} <= names
    assert "avala_proxy_queue_wait_seconds_bucket" in names
    assert "avala_proxy_queue_wait_seconds" not in names
