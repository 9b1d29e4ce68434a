"""A status as a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .plan import printable
from .report import OWN_PODS, NodeReport

HEADER = ("NODE", "ROLE", "ADDRESS", "STATE", "KUBERNETES", "DOCKER", "DAEMONS", "ETCD", "SUBNET", "CERTIFICATES")


def _row(report: NodeReport) -> tuple[str, ...]:
    days = "" if report.certificate_days is None else f"{report.certificate_days} days"
    daemons = [state == "running" for state in (report.bootstrap_daemon, report.main_daemon) if state]
    run = f"{sum(daemons)}/{len(daemons)}" if daemons else ""
    # record, lease and docker0; without etcd the lease is not known
    subnets = {subnet for name, subnet in report.subnet.items() if subnet or name != "lease"}
    subnet = " ".join(subnets) if len(subnets) < 2 else "differs"
    versions = (report.kubernetes, report.docker)
    return (report.node, report.role, report.address, report.state, *versions, run, report.etcd, subnet, days)


def table(reports: Sequence[NodeReport], strangers: Mapping[str, str]) -> str:
    """The table, and below it what is wrong with whom and what to do.

    :param strangers: nodes that the inventory does not have → what to do about them.
    """
    rows = [HEADER, *(_row(r) for r in reports)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    for report in reports:
        if report.problems or report.drift or report.next_step:
            lines += ["", f"{report.node} is {report.state}:"]
        lines += [f"  problem: {problem}" for problem in report.problems]
        for drift in report.drift:
            lines.append(f"  an apply would: {drift['operation']}")
            lines += [f"    {line}" for line in drift["plan"]]
        lines += [f"  next: {report.next_step}"] if report.next_step else []
    for name, todo in strangers.items():
        lines += ["", f"{name} is a node in the API, but not in the inventory:", f"  next: {todo}"]
    pods = [pod for report in reports for pod in report.pods_not_running]
    if theirs := [pod for pod in pods if not pod.startswith(OWN_PODS)]:
        lines += ["", "pods of yours that do not run, of which no state above tells:", *(f"  {pod}" for pod in theirs)]
    return printable("\n".join(lines))
