"""What can be seen of the machine."""

from pathlib import Path

from mtp_operator.bench.machine_load import MachineLoad, machine_load


def test_pressure_and_throttling_are_read_in_seconds(tmp_path: Path) -> None:
    pressure, cgroup = tmp_path / "pressure", tmp_path / "cpu.stat"
    pressure.write_text("some avg10=1.50 avg60=0.80 avg300=0.20 total=2500000\nfull avg10=0.00 total=0\n")
    cgroup.write_text("usage_usec 12\nnr_throttled 3\nthrottled_usec 1500000\n")

    load = machine_load(pressure, cgroup)

    assert load == MachineLoad(waiting_seconds=2.5, throttled_seconds=1.5)
    assert load.since(MachineLoad(waiting_seconds=1.0, throttled_seconds=None)) == MachineLoad(1.5, None)


def test_a_kernel_that_shows_neither_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")

    assert machine_load(tmp_path / "none", tmp_path / "empty") == MachineLoad(None, None)
