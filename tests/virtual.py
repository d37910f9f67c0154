from proxy.virtual import VirtualClock as VirtualClock
from proxy.virtual import VirtualLoop as VirtualLoop
from proxy.virtual import run_virtual as run_virtual
