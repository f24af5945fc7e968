"""rules_sql - D19 to D21 of the restorable set, judged on the servers' own statement logs"""
import re
import time

from rules_ground import TENANT

LOCAL_TABLES = {"__all_virtual_partition_info", "__all_virtual_clog_stat", "__all_virtual_election_info",
                "__all_virtual_partition_store_info", "__all_virtual_server_clog_stat", "__all_virtual_sys_parameter_stat"}
LISTS = ("__all_virtual_table", "__all_virtual_part", "__all_virtual_sub_part", "__all_virtual_tablegroup",
         "__all_virtual_meta_table")
NEVER = ("__all_virtual_partition_table", "macro_info")


def of(lines, account):
    return [e for e in lines if e["account"].startswith(account)]


def is_local(e):
    named = re.findall(r"svr_ip = '([\d.]+)'", e["statement"])
    return not e["nofilter"] and set(e["tables"]) <= LOCAL_TABLES and named in ([], [e["host"]]) and (named or not e["tables"])


def local_only(ground):
    """D19: every statement of an agent names its own server and goes there."""
    g, bug = ground, "bug.d19_asks_all_servers"
    since = g.now()
    time.sleep(3)
    mine = of(g.sql_log(since), "obv_agent")
    kept = len(mine) > 5 and all(map(is_local, mine))
    since = g.now()
    g.bugs(bug)
    time.sleep(3)
    g.bugs("")
    bad = [e for e in of(g.sql_log(since), "obv_agent") if not is_local(e)]
    return kept and bool(bad) and g.strikes(bug) > 0, (
        f"kept: {len(mine)} statements of agents, each to its own server with svr_ip and svr_port; broken: "
        f"{len(bad)} statements ask all servers")


def accounts(ground, log):
    """D20: agents and the source's account only read; what would need more is refused."""
    g, bug = ground, "bug.d20_alters_source"
    mine = of(log, "obv_")
    reads = [e for e in mine if re.match(r"(SELECT|SET (time_zone|NAMES|ob_|autocommit|SESSION|@@))", e["statement"], re.I)]
    kept = mine and len(reads) == len(mine) and not any(e["error"] for e in mine)
    others = {e["account"] for e in log} - {"obv_agent@sys", "obv_coord@sys"}
    since = g.now()
    answer, _ = g.backup(bug)
    bad = [e for e in of(g.sql_log(since), "obv_coord") if e["error"] in (1142, 1227)]
    odd = [e["statement"][:60] for e in mine if e not in reads or e["error"]]
    return bool(kept) and not others and bool(bad) and not g.good(answer) and g.strikes(bug) > 0, (
        f"kept: {len(mine)} statements, none but SELECT and session SET {odd[:2] or ''}; broken: "
        f"{bad[0]['error'] if bad else 'no'} error for {bad[0]['statement'] if bad else 'it'}")


def load_of(lines):
    """({table: statements}, statements without tenant or page)"""
    count, bad = {}, []
    for e in of(lines, "obv_coord"):
        for t in e["tables"]:
            count[t] = count.get(t, 0) + 1
            if t in LISTS and not re.search(rf"tenant_id = {TENANT}\b.* ORDER BY .* LIMIT \d+", e["statement"]):
                bad.append(e["statement"])
            if t in NEVER or any(n in t for n in NEVER):
                bad.append(e["statement"])
    return count, bad


def load(ground, log):
    """D21: dear tables once a backup, with tenant and pages; never polled."""
    g = ground
    count, bad = load_of(log)
    most = max(count.get(t, 0) for t in LISTS)
    kept = 0 < most <= DEAR_MAX and not bad
    text = f"kept: dear tables read {most} times at most in a backup, with tenant and page {bad[:1] or ''}"
    since = g.now()
    g.backup("bug.d21_all_tenants")
    _, whole = load_of(g.sql_log(since))
    since = g.now()
    g.backup("bug.d21_polls_replicas")
    polled = load_of(g.sql_log(since))[0].get("__all_virtual_meta_table", 0)
    struck = g.strikes("bug.d21_all_tenants"), g.strikes("bug.d21_polls_replicas")
    return kept and bool(whole) and polled > DEAR_MAX and all(struck), (
        f"{text}; broken {struck}: {len(whole)} statements through all tenants; replica table read {polled} times")


DEAR_MAX = 6  # lists of the first pass and of a closing pass, replicas once, and what archiving asks in the meantime
