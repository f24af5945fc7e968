#include "proto/tls.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/crypto.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#define PEM_MAX (1u << 20)
#define EXPIRES_SOON_US (30LL * 86400 * OBV_US_PER_S)

obv_rpc_peer obv_rpc_peer_of_cn(const char *cn, size_t len)
{
    static const struct {
        const char *prefix;
        obv_rpc_role role;
    } ROLES[] = {{"agent:", OBV_RPC_AGENT}, {"operator:", OBV_RPC_OPERATOR}};
    obv_rpc_peer p = {.role = OBV_RPC_NOBODY};
    if (len == strlen("coordinator") && memcmp(cn, "coordinator", len) == 0)
        p.role = OBV_RPC_COORDINATOR;
    for (size_t i = 0; i < sizeof ROLES / sizeof *ROLES; i++) {
        const size_t n = strlen(ROLES[i].prefix);
        if (len <= n || len - n >= sizeof p.name || memcmp(cn, ROLES[i].prefix, n) != 0)
            continue;
        if (memchr(cn, 0, len))
            continue;
        p.role = ROLES[i].role;
        memcpy(p.name, cn + n, len - n);
    }
    return p;
}

static obv_code read_pem(const char *path, char **out, obv_err *err)
{
    FILE *f = path ? fopen(path, "re") : NULL;
    if (!f)
        return obv_fail(err, OBV_E_CONFIG, errno, "tls: open %s: %s", path ? path : "(no file)", strerror(errno));
    char *text = malloc(PEM_MAX + 1);
    const size_t n = text ? fread(text, 1, PEM_MAX + 1, f) : 0;
    const bool bad = !text || ferror(f) || n == 0 || n > PEM_MAX;
    (void)fclose(f);
    if (bad) {
        free(text);
        return obv_fail(err, OBV_E_CONFIG, 0, "tls: %s is empty, unreadable or larger than 1 MiB", path);
    }
    text[n] = 0;
    *out = text;
    return OBV_OK;
}

void obv_pem_fini(obv_pem *p)
{
    free(p->ca);
    free(p->cert);
    if (p->key)
        OPENSSL_cleanse(p->key, strlen(p->key));
    free(p->key);
}

obv_code obv_pem_read(const obv_rpc_tls *tls, obv_pem *out, obv_err *err)
{
    OBV_TRY(read_pem(tls->ca, &out->ca, err));
    OBV_TRY(read_pem(tls->cert, &out->cert, err));
    return read_pem(tls->key, &out->key, err);
}

obv_rpc_peer obv_pem_peer(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509 *x = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    char cn[256];
    const int len = x ? X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, cn, sizeof cn) : -1;
    X509_free(x);
    BIO_free(bio);
    return obv_rpc_peer_of_cn(cn, len > 0 ? (size_t)len : 0);
}

obv_code obv_pem_expiry(const char *path, int64_t *until_us, obv_err *err)
{
    OBV_AUTO(obv_freep) char *pem = NULL;
    struct tm tm = {0};
    OBV_TRY(read_pem(path, &pem, err));
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509 *x = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    const bool ok = x && ASN1_TIME_to_tm(X509_get0_notAfter(x), &tm) == 1;
    X509_free(x);
    BIO_free(bio);
    if (!ok)
        return obv_fail(err, OBV_E_CONFIG, 0, "tls: %s holds no certificate", path);
    *until_us = (int64_t)timegm(&tm) * OBV_US_PER_S;
    return OBV_OK;
}

void obv_pem_judge(obv_findings *l, const char *check, const char *where, int64_t until_us, int64_t now_us)
{
    static const char NEXT[] = "put a new certificate in its place and restart (docs/operations.md, Certificates)";
    char t[OBV_TIME_TEXT_LEN];
    (void)obv_time_text(until_us, t);
    if (until_us <= now_us)
        obv_found_fail(l, OBV_E_AUTH, check, where,
                       "agents and coordinator do not talk: backups fail, checkpoints stand", NEXT,
                       "the certificate was valid until %s", t);
    else if (until_us - now_us < EXPIRES_SOON_US)
        obv_found_warn(l, check, where, "none yet: after that day backups fail and checkpoints stand", NEXT,
                       "the certificate is valid until %s", t);
    else
        obv_found_ok(l, check, where, "valid until %s", t);
}
