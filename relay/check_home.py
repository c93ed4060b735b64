"""The checks that need no chain: key files and remote signers, the database, the clock.

Reads key files, asks remote signers for their keys, and looks at the database without changing it.
"""

from relay.config import Settings
from relay.errors import SignerError, StartupError
from relay.findings import Finding, failed, note, ok, skipped
from relay.keccak import checksum_address
from relay.keyring import Keyring, KeySources, Signer
from relay.private_file import KeyFileError
from relay.store.engine import StoreUnavailableError, absent_file, open_database
from relay.store.probe import Probe, probe

CLOCK_S_MAX = 5  # between this machine and the database: limits and deadlines are counted by both
CHAIN_AHEAD_S_MAX = 15  # by which a block may be ahead of us; clients of most chains allow so much
CHAIN_OLD_S = 120  # after so long without a block, a public chain stands still or the endpoint does

REFUSALS = (KeyFileError, SignerError, StartupError)
# What each job's key is for, and whether a relay can do without it.
JOBS = {
    "attestation": ("signs what was computed; without it every submission is refused", True),
    "gas": ("sends scores and pays for them; another process must, or nothing reaches the chain", False),
    "auditor": ("sends revocations; without it they wait until a process that holds it runs", False),
    "admin": ("deploys and publishes rules; best kept elsewhere once that is done", False),
}
NAMED: dict[str, tuple[str, ...]] = {
    "attestation": ("attestation_key_file", "attestation_signer"),
    "gas": ("gas_key_file", "gas_signer"),
    "auditor": ("auditor_key_file", "auditor_signer"),
    "admin": ("admin_key_file",),
}


def read_keys(settings: Settings) -> tuple[Keyring, list[Finding]]:
    """Read every key that the settings name; where one cannot be read, each by itself, so that it hides no other."""
    try:
        found = KeySources(settings).read()
    except REFUSALS:
        return _one_by_one(settings)
    return found, key_findings(found)


def _one_by_one(settings: Settings) -> tuple[Keyring, list[Finding]]:
    nothing = {name: Settings.model_fields[name].default for names in NAMED.values() for name in names}
    read: dict[str, Keyring] = {}
    findings: list[Finding] = []
    for job, names in NAMED.items():
        alone = settings.model_copy(update=nothing | {name: getattr(settings, name) for name in names})
        try:
            read[job] = KeySources(alone).read()
        except REFUSALS as refusal:
            findings.append(failed(f"{job} key", "cannot be used", str(refusal)))
            read[job] = Keyring()
    found = Keyring(read["admin"].admin, read["attestation"].attestation, read["gas"].gas, read["auditor"].auditor)
    told = {finding.check for finding in findings}
    return found, [*findings, *(one for one in key_findings(found) if one.check not in told)]


def key_findings(keys: Keyring) -> list[Finding]:
    """Say which keys are held, and what follows from those that are not."""
    held: dict[str, list[Signer]] = {
        "attestation": [keys.attestation] if keys.attestation else [],
        "gas": list(keys.gas),
        "auditor": [keys.auditor] if keys.auditor else [],
        "admin": [keys.admin] if keys.admin else [],
    }
    found: list[Finding] = []
    for job, signers in held.items():
        purpose, needed = JOBS[job]
        setting = f"FAIRSCORE_{job.upper()}_KEY_FILE"
        if signers:
            found += [ok(f"{job} key", checksum_address(signer.address)) for signer in signers]
        elif needed:
            found.append(failed(f"{job} key", "none is named", f"set {setting}: it {purpose}"))
        elif job != "admin":
            found.append(note(f"{job} key", "none is named", f"it {purpose} ({setting})"))
    if keys.attestation is not None and any(keys.attestation.address == signer.address for signer in keys.gas):
        todo = "use two: whoever takes the one that pays must not be able to sign scores"
        found.append(note("keys", "one key signs scores and pays for gas", todo))
    return found


def look_at_database(settings: Settings) -> tuple[Probe | None, list[Finding]]:
    """Look at the settings' database; nothing is made where there is none."""
    try:
        absent = absent_file(settings.database)
        if absent is not None:
            return None, [note("database", f"there is none yet at {absent}", "the first start makes it")]
        database = open_database(settings.database)
    except ValueError as wrong:
        return None, [failed("database", "cannot be opened", f"{wrong}: check FAIRSCORE_DATABASE_URL")]
    try:
        found = probe(database)
    except StoreUnavailableError as away:
        return None, [failed("database", "does not answer", str(away))]
    finally:
        database.close()
    return found, [*_versions(found, database.dialect), *_writable(found)]


def _versions(found: Probe, dialect: str) -> list[Finding]:
    findings: list[Finding] = []
    for package, version in found.versions.items():
        check = f"database ({package})"
        if version.missing is None:
            todo = "run the newer program, or restore the backup taken before its upgrade"
            findings.append(failed(check, f"is of a newer version ({version.at}) than this program", todo))
        elif version.at is None:
            findings.append(note(check, f"{dialect}, empty", "the first start, or `fairscore migrate`, lays it out"))
        elif not version.current:
            seen = f"is at {version.at}, {version.missing} behind this program's {version.head}"
            findings.append(failed(check, seen, "make a backup, then run `fairscore migrate`"))
        else:
            findings.append(ok(check, f"{dialect} at version {version.at}"))
    return findings


def _writable(found: Probe) -> list[Finding]:
    if not found.read_only:
        return []
    todo = "name the primary in FAIRSCORE_DATABASE_URL, or let its role write (default_transaction_read_only)"
    return [failed("database", "takes no changes", todo)]


def clock_findings(now_s: float, database_s: float | None, newest_block_s: int | None) -> list[Finding]:
    """Compare this machine's clock with the database's and with the newest block's (unix seconds; None: not known)."""
    found: list[Finding] = []
    ntp = "let NTP set it: limits and deadlines are counted by it"
    if database_s is not None and abs(now_s - database_s) > CLOCK_S_MAX:
        seen = f"this machine and the database are {abs(now_s - database_s):.0f} s apart"
        found.append(failed("clock", seen, f"see which one is wrong, and {ntp}"))
    if newest_block_s is not None and newest_block_s - now_s > CHAIN_AHEAD_S_MAX:
        seen = f"the newest block is {newest_block_s - now_s:.0f} s ahead of this machine's clock"
        found.append(failed("clock", seen, ntp))
    elif newest_block_s is not None and now_s - newest_block_s > CHAIN_OLD_S:
        seen = f"the newest block is {now_s - newest_block_s:.0f} s old"
        found.append(note("clock", seen, "normal on a chain that makes blocks on demand; else it stands still"))
    others = [name for name, seen in (("database", database_s), ("chain", newest_block_s)) if seen is not None]
    if not others:
        return [skipped("clock", "a database or an endpoint that answers")]
    return found or [ok("clock", f"agrees with the {' and the '.join(others)}")]
