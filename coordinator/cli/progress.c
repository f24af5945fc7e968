#include "base/clock.h"
#include "cli/cli.h"

#include <string.h>

#define BAR 24

const char *obv_cli_bytes(uint64_t n, char out[24])
{
    static const char *const UNITS[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double v = (double)n;
    size_t u = 0;
    while (v >= 1024 && u + 1 < sizeof UNITS / sizeof *UNITS) {
        v /= 1024;
        u++;
    }
    (void)snprintf(out, 24, u ? "%.1f %s" : "%.0f %s", v, UNITS[u]);
    return out;
}

void obv_cli_meter_see(obv_cli_meter *m, const Obvault__V1__Job *j)
{
    const uint64_t bytes = j->progress ? j->progress->bytes_read : 0;
    const uint32_t pgs = j->progress ? j->progress->pgs_done : 0;
    if (!m->begun) {
        *m =
            (obv_cli_meter){.first_at = j->at, .last_at = j->at, .first_bytes = bytes, .first_pgs = pgs, .begun = true};
        return;
    }
    m->last_at = j->at;
    const int64_t us = m->last_at - m->first_at;
    if (us >= OBV_US_PER_S && bytes >= m->first_bytes)
        m->rate = (uint64_t)((double)(bytes - m->first_bytes) * 1e6 / (double)us);
}

int64_t obv_cli_meter_eta_s(const obv_cli_meter *m, const Obvault__V1__Job *j)
{
    const Obvault__V1__Progress *p = j->progress;
    const int64_t us = m->last_at - m->first_at;
    if (!p || p->pgs_total == 0 || p->pgs_done <= m->first_pgs || us < OBV_US_PER_S || p->pgs_done > p->pgs_total)
        return -1;
    const double per_pg = (double)us / (double)(p->pgs_done - m->first_pgs);
    return (int64_t)(per_pg * (double)(p->pgs_total - p->pgs_done) / 1e6);
}

void obv_cli_meter_bar(const obv_cli_meter *m, const Obvault__V1__Job *j, char *out, size_t cap)
{
    const Obvault__V1__Progress *p = j->progress;
    const uint32_t total = p ? p->pgs_total : 0;
    const uint32_t done = p ? p->pgs_done < total ? p->pgs_done : total : 0;
    char bar[BAR + 1], bytes[24], rate[24], eta[32] = "";
    const size_t full = total ? (size_t)((uint64_t)done * BAR / total) : 0;
    memset(bar, '#', full);
    memset(bar + full, '.', BAR - full);
    bar[BAR] = 0;
    const int64_t s = obv_cli_meter_eta_s(m, j);
    if (s >= 0)
        (void)snprintf(eta, sizeof eta, "  ETA %lld:%02lld:%02lld", (long long)(s / 3600), (long long)(s / 60 % 60),
                       (long long)(s % 60));
    (void)snprintf(out, cap, "%s %s [%s] %3u%%  %s  %s/s%s", j->id, j->phase, bar, total ? done * 100 / total : 0,
                   obv_cli_bytes(p ? p->bytes_read : 0, bytes), obv_cli_bytes(m->rate, rate), eta);
}
