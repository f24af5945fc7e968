#include "base/sha256.h"

#include <openssl/evp.h>

struct obv_sha256 {
    EVP_MD_CTX *ctx;
    bool failed;
};

obv_code obv_sha256_of(obv_span bytes, uint8_t *out, obv_err *err)
{
    if (EVP_Digest(bytes.p ? bytes.p : out, bytes.len, out, NULL, EVP_sha256(), NULL) != 1)
        return obv_fail(err, OBV_E_NOMEM, 0, "SHA-256");
    return OBV_OK;
}

obv_sha256 *obv_sha256_new(void)
{
    obv_sha256 *h = calloc(1, sizeof *h);
    if (!h)
        return NULL;
    h->ctx = EVP_MD_CTX_new();
    if (!h->ctx) {
        free(h);
        return NULL;
    }
    h->failed = EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL) != 1;
    return h;
}

void obv_sha256_free(obv_sha256 *h)
{
    if (h)
        EVP_MD_CTX_free(h->ctx);
    free(h);
}

void obv_sha256_update(obv_sha256 *h, obv_span bytes)
{
    if (h && bytes.len && !h->failed)
        h->failed = EVP_DigestUpdate(h->ctx, bytes.p, bytes.len) != 1;
}

obv_code obv_sha256_final(obv_sha256 *h, uint8_t *out, obv_err *err)
{
    if (!h || h->failed || EVP_DigestFinal_ex(h->ctx, out, NULL) != 1)
        return obv_fail(err, OBV_E_NOMEM, 0, "SHA-256");
    h->failed = EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL) != 1;
    return OBV_OK;
}

const char *obv_hex(obv_span bytes, char *out)
{
    static const char DIGITS[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes.len; i++) {
        out[2 * i] = DIGITS[bytes.p[i] >> 4];
        out[2 * i + 1] = DIGITS[bytes.p[i] & 15];
    }
    out[2 * bytes.len] = '\0';
    return out;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool obv_unhex(const char *text, uint8_t *out, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        const int high = hex_digit(text[2 * i]);
        const int low = high < 0 ? -1 : hex_digit(text[2 * i + 1]);
        if (low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return text[2 * len] == '\0';
}
