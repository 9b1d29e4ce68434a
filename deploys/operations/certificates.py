"""Certificates: authorities on the first master, what they sign on every host.

Keys are made in memory after the plan, read from the first master without printing, and written
through stdin.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence

from pyinfra import host
from pyinfra.api import StringCommand
from pyinfra.api.host import Host

from .. import x509
from ..facts.daemons import DaemonsFact
from ..facts.files import Files, HostFiles
from ..observe import observe, this_host
from ..operation import Commands, operation
from ..plan import fail, say
from ..record import KUBELET, KUBELET_CLIENT
from ..remote import pem
from ..x509 import Certificate, Pair
from .containers import restart_command
from .files import File, changed_since, foreign, write


def _pair_files(path: str, pair: Pair, public: str = ".crt") -> list[File]:
    return [File(path + ".key", pair.key, "600", secret=True), File(path + public, pair.certificate)]


def _filled(found: Files, path: str) -> bool:
    """Whether a file is there, whoever wrote it, and is not what a power cut left of one."""
    return path in found.files and found.files[path].size > 0


def _not_whole(found: Files, pairs: Iterable[tuple[str, str]]) -> str | None:
    """The sentence about two files that belong together, where one is not there or was not written by us."""
    for pair in pairs:
        if taken := foreign(found, pair):
            return taken
        there = [path for path in pair if _filled(found, path)]
        if len(there) == 1:
            (lost,) = set(pair) - set(there)
            return (
                f"{there[0]} is there but {lost} is not: put {lost} back, from a backup if need be; a new pair would "
                "lock out all that trust this one. Where no cluster has come up yet: deploys/turndown.py with "
                "purge_data=true, then this again"
            )
    return None


@operation
def authorities(names: dict[str, str], key_pairs: Sequence[str]) -> Commands:
    """
    Ensure that authorities and key pairs are there. One that is there is never replaced.

    + names: path without ending to common name
    + key_pairs: paths without ending of keys with a bare public half (``.pub``)
    """
    found = observe(HostFiles)
    halves = [*((f"{p}.crt", f"{p}.key") for p in names), *((f"{p}.pub", f"{p}.key") for p in key_pairs)]
    if sentence := _not_whole(found, halves):
        yield fail(sentence)
        return
    new = {path: name for path, name in names.items() if not _filled(found, f"{path}.key")}
    pairs = [path for path in key_pairs if not _filled(found, f"{path}.key")]
    modes = [p for p in (*names, *key_pairs) if p not in pairs and _wrong_mode(found, p + ".key")]
    for path, name in new.items():
        say(f"Will make authority {path}.crt (CN={name}, {x509.CA_DAYS} days) and its key")
    for path in pairs:
        say(f"Will make key pair {path}.pub, {path}.key")
    if not new and not pairs and not modes:
        host.noop("the authorities are there")
        return
    yield _mend_modes(modes)  # in a plan nothing below is reached, so no key is made for it
    made = [f for path, name in new.items() for f in _pair_files(path, x509.new_authority(name))]
    made += [f for path in pairs for f in _pair_files(path, x509.new_key_pair(), ".pub")]
    if made:
        yield write(made)


def _mend_modes(paths: Sequence[str]) -> StringCommand:
    for path in paths:
        say(f"Will set {path}.key to 0:0 600")
    return StringCommand("".join(f"chown 0:0 {p}.key; chmod 600 {p}.key; " for p in paths) + "true")


def _wrong_mode(found: Files, path: str) -> bool:
    state = found.ours(path)
    return state is not None and (state.mode, state.owner) != ("600", "0:0")


@operation
def certificates(
    wanted: Sequence[Certificate], authority: Host, days: int, renew: bool, restart: Mapping[str, tuple[str, str]]
) -> Commands:
    """
    Ensure that certificates signed by the cluster's authorities are there.

    + wanted: the certificates
    + authority: the host that keeps the authorities (the first master)
    + days: lifetime of what is issued
    + renew: issue all of them anew, also those that are good
    + restart: path of a certificate to daemon and container of the program that reads it at its start only
    """
    found, signers = observe(HostFiles), observe(HostFiles, authority)
    signed_by = {c.signer for c in wanted}
    placed = [f"{c.path}{end}" for c in wanted for end in (".crt", ".key")] + [f"{path}.crt" for path in signed_by]
    if sentence := _broken(authority, signers, signed_by) or foreign(found, placed):
        yield fail(sentence)
        return
    stale = {c: reason for c in wanted if (reason := _stale(found, signers, c, renew))}
    modes = [c.path for c in wanted if c not in stale and _wrong_mode(found, c.path + ".key")]
    copies = [] if authority is this_host() else _copies(found, signers, signed_by)
    for certificate, reason in stale.items():
        say(f"Will issue {certificate.path}.crt, {reason}:", *certificate.describe(days))
    again = [_restart(*restart[c.path], f"{c.path}.crt") for c in stale if c.path in restart]
    for copy in copies:
        verb = "replace" if found.ours(copy.path) else "copy"
        say(f"Will {verb} {copy.path} from {authority.name}" + (", another authority's" if verb == "replace" else ""))
    if not stale and not copies and not modes:
        host.noop(f"{len(wanted)} certificates are good")
        return
    yield _mend_modes(modes)  # in a plan nothing below is reached, so no key is made or read for it
    pairs = {}
    for signer in sorted({c.signer for c in stale} | {f.path.removesuffix(".crt") for f in copies}):
        pair = _signer(authority, signers, signer)
        if isinstance(pair, str):
            yield fail(pair)
            return
        pairs[signer] = pair
    issued = [f for c in stale for f in _pair_files(c.path, x509.issue(c, pairs[c.signer], days))]
    if issued or copies:
        yield write([*copies, *issued], after="".join(again))


def _signer(authority: Host, signers: Files, path: str) -> Pair | str:
    """An authority with its key, or the sentence why it can sign nothing."""
    certificate, key = signers.content(path + ".crt"), pem(authority, f"{path}.key")
    if not key or not certificate:
        return f"{authority.name} has no {path}.crt with its key: run deploys/master.py first"
    if x509.has_ended(certificate):
        return (
            f"the authority {path}.crt on {authority.name} has ended and no run replaces it: what it signed is good "
            "nowhere. Turn the cluster down with purge_data=true, and bring it up anew"
        )
    if not x509.belong_together(pair := Pair(certificate, key)):
        return f"{path}.key on {authority.name} is not the key of {path}.crt; put the right one back"
    return pair


def _restart(daemon: str, name: str, *reads: str) -> str:
    """The command that restarts a container of ours, announced; empty where there is none, or where its own phase
    restarts it, since it has not read what is there now."""
    have = observe(DaemonsFact).of(daemon).containers.get(name)
    if not have or changed_since(reads, have.started):
        return ""
    say(f"Will restart container {name} on the {daemon} daemon, which reads it at its start only")
    return f"{restart_command(daemon, name)}\n"


def _stale(found: Files, signers: Files, certificate: Certificate, renew: bool) -> str | None:
    pem = found.content(certificate.path + ".crt")
    if not pem:
        return "which is not there"
    if not _filled(found, f"{certificate.path}.key"):
        return "whose key is not there"
    signer = signers.content(certificate.signer + ".crt")
    if not signer:
        return f"because {certificate.signer}.crt is made anew"
    reason = x509.why_not(pem, certificate, signer) or ("renew_certificates asks for it" if renew else None)
    return f"because {reason}" if reason else None


def _broken(authority: Host, signers: Files, paths: set[str]) -> str | None:
    """The sentence about an authority's file that is there and is none: all that it signed would be made anew."""
    for file in (f"{path}.crt" for path in sorted(paths)):
        if signers.ours(file) and not x509.is_authority(signers.content(file)):
            return f"{file} on {authority.name} is no authority's certificate; put it back, from a backup if need be"
    return None


def _copies(found: Files, signers: Files, paths: set[str]) -> list[File]:
    wanted = [File(path + ".crt", signers.content(path + ".crt")) for path in sorted(paths)]
    # before the first run the authority's text is not known yet, only that it will be copied
    return [f for f in wanted if not found.ours(f.path) or found.content(f.path) != f.content]


@operation
def kubelet_client(wanted: Certificate, authority: Host, days: int, container: str) -> Commands:
    """
    Ensure that the kubelet has a client certificate; after that it rotates it by itself. It is restarted where
    it runs with another one.

    + wanted: subject and signer
    + authority: the host that keeps the authorities (the first master)
    + days: lifetime of the first one
    + container: the kubelet's, in the main daemon
    """
    have = observe(HostFiles).kubelet_client
    signers = observe(HostFiles, authority)
    ca = signers.content(wanted.signer + ".crt")
    if broken := _broken(authority, signers, {wanted.signer}):
        yield fail(broken)
        return
    bad = x509.why_not(have, wanted, ca, only_identity=True) if have else None
    reason = f"because {bad}" if bad else None if have else "which is not there"
    if not reason:
        host.noop("the kubelet's client certificate is good")
        return
    say(f"Will issue {KUBELET_CLIENT}, {reason}:", *wanted.describe(days))
    again = _restart("main", container)
    yield StringCommand("true")
    signer = _signer(authority, signers, wanted.signer)
    if isinstance(signer, str):
        yield fail(signer)
        return
    pair = x509.issue(wanted, signer, days)
    # the kubelet's own naming; it moves the link when it rotates
    stamp = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d-%H-%M-%S")
    path = f"{KUBELET}/pki/kubelet-client-{stamp}.pem"
    yield write([File(path, pair.certificate + pair.key, "600", secret=True)])
    yield StringCommand(f"ln -sfn {path} {KUBELET_CLIENT}" + (f" && {again.strip()}" if again else ""))
