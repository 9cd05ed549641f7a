import math
import os
from pathlib import Path

import pytest

from featune.engine.machine import processors, time_share


@pytest.mark.parametrize(
    ("files", "share"),
    [
        ({}, math.inf),
        ({"proc/self/cgroup": "0::/\n"}, math.inf),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, math.inf),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "250000 100000\n"}, 2.5),
        # a service of systemd: its own folder below the root
        (
            {
                "proc/self/cgroup": "0::/system.slice/job.service\n",
                "sys/fs/cgroup/system.slice/job.service/cpu.max": "50000 100000",
            },
            0.5,
        ),
        # version 1 in a container: the path is the host's, the folder is the container's own
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/docker/ab12\n3:memory:/docker/ab12\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "300000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            3.0,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            math.inf,
        ),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "100000 0\n"}, math.inf),
    ],
)
def test_a_containers_share_of_time_is_read_from_its_control_group(
    files: dict[str, str], share: float, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert time_share(tmp_path) == share


def test_a_process_has_a_processor_and_no_more_than_there_are() -> None:
    assert 1 <= processors() <= (os.cpu_count() or 1)
