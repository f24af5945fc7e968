#include "base/finding.h"
#include "cli/cli.h"

static obv_level level_of(const Obvault__V1__Finding *f)
{
    return f->level == OBV_LEVEL_OK || f->level == OBV_LEVEL_WARN ? (obv_level)f->level : OBV_LEVEL_FAIL;
}

static obv_findings all_of(const ProtobufCMessage *m)
{
    const Obvault__V1__DoctorResponse *r = (const Obvault__V1__DoctorResponse *)m;
    obv_findings l = {0};
    for (size_t i = 0; i < r->n_findings; i++) {
        const obv_finding f = {.level = level_of(r->findings[i]), .code = (obv_code)r->findings[i]->code};
        obv_findings_add(&l, &f);
    }
    return l;
}

obv_code obv_cli_doctor_result(const ProtobufCMessage *m)
{
    OBV_AUTO(obv_findings_fini) obv_findings l = all_of(m);
    return obv_findings_worst(&l);
}

void obv_json_doctor(obv_json *w, const ProtobufCMessage *m)
{
    const Obvault__V1__DoctorResponse *r = (const Obvault__V1__DoctorResponse *)m;
    OBV_AUTO(obv_findings_fini) obv_findings l = all_of(m);
    const obv_code worst = obv_findings_worst(&l);
    obv_json_array(w, "findings");
    for (size_t i = 0; i < r->n_findings; i++) {
        const Obvault__V1__Finding *f = r->findings[i];
        const obv_level level = level_of(f);
        obv_json_object(w, NULL);
        obv_json_str(w, "check", f->check);
        obv_json_str(w, "level", obv_level_name(level));
        obv_json_str(w, "where", f->where);
        obv_json_str(w, "found", f->found);
        obv_json_str(w, "means", level == OBV_LEVEL_OK ? NULL : f->means);
        obv_json_str(w, "next", level == OBV_LEVEL_OK ? NULL : f->next);
        obv_json_str(w, "code", level == OBV_LEVEL_FAIL ? obv_code_describe((obv_code)f->code)->name : NULL);
        obv_json_end(w);
    }
    obv_json_end(w);
    obv_json_u64(w, "ok", obv_findings_count(&l, OBV_LEVEL_OK));
    obv_json_u64(w, "warn", obv_findings_count(&l, OBV_LEVEL_WARN));
    obv_json_u64(w, "fail", obv_findings_count(&l, OBV_LEVEL_FAIL));
    obv_json_i64(w, "exit_code", obv_code_describe(worst)->exit_code);
}

void obv_text_doctor(FILE *out, const ProtobufCMessage *m)
{
    const Obvault__V1__DoctorResponse *r = (const Obvault__V1__DoctorResponse *)m;
    OBV_AUTO(obv_findings_fini) obv_findings l = all_of(m);
    for (size_t i = 0; i < r->n_findings; i++) {
        const Obvault__V1__Finding *f = r->findings[i];
        const obv_level level = level_of(f);
        (void)fprintf(out, "%-5s %-24s %-22s %s\n", obv_level_name(level), f->check, f->where, f->found);
        if (level != OBV_LEVEL_OK && f->means[0])
            (void)fprintf(out, "      means: %s\n", f->means);
        if (level != OBV_LEVEL_OK && f->next[0])
            (void)fprintf(out, "      next:  %s\n", f->next);
    }
    (void)fprintf(out, "%zu ok, %zu warnings, %zu failures\n", obv_findings_count(&l, OBV_LEVEL_OK),
                  obv_findings_count(&l, OBV_LEVEL_WARN), obv_findings_count(&l, OBV_LEVEL_FAIL));
}
