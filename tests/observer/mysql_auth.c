/* mysql_auth.c - accounts and mysql_native_password */
#include "sql_priv.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <jansson.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

static bool sha1(const void *a, size_t alen, const void *b, size_t blen, uint8_t out[20])
{
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    bool ok = c && EVP_DigestInit_ex(c, EVP_sha1(), NULL) == 1 && EVP_DigestUpdate(c, a, alen) == 1 &&
              (!blen || EVP_DigestUpdate(c, b, blen) == 1) && EVP_DigestFinal_ex(c, out, NULL) == 1;
    EVP_MD_CTX_free(c);
    return ok;
}

/* answer = SHA1(password) xor SHA1(scramble + SHA1(SHA1(password))); no answer for no password */
static bool password_fits(const char *password, const uint8_t *scramble, const uint8_t *answer, size_t len)
{
    uint8_t once[20], twice[20], mask[20];
    if (!*password)
        return len == 0;
    if (len != 20 || !sha1(password, strlen(password), NULL, 0, once) || !sha1(once, 20, NULL, 0, twice) ||
        !sha1(scramble, 20, twice, 20, mask))
        return false;
    for (int i = 0; i < 20; i++)
        mask[i] ^= once[i];
    return CRYPTO_memcmp(mask, answer, 20) == 0;
}

static unsigned rights_of(const json_t *list)
{
    static const struct {
        const char *name;
        unsigned bit;
    } NAMES[] = {{"SELECT", SQL_RIGHT_SELECT}, {"ALTER SYSTEM", SQL_RIGHT_ALTER_SYSTEM}, {"SUPER", SQL_RIGHT_SUPER}};
    unsigned rights = 0;
    size_t i;
    json_t *name;
    json_array_foreach(list, i, name)
    {
        for (size_t k = 0; k < sizeof NAMES / sizeof *NAMES; k++)
            if (json_is_string(name) && strcasecmp(json_string_value(name), NAMES[k].name) == 0)
                rights |= NAMES[k].bit;
    }
    return rights;
}

static bool find_account(const struct sql_server *srv, struct sql_account *a)
{
    json_t *file = json_load_file(srv->accounts_path, 0, NULL);
    const json_t *list = json_is_object(file) ? json_object_get(file, "accounts") : file;
    size_t i;
    json_t *entry;
    bool found = false;
    json_array_foreach(list, i, entry)
    {
        const char *user = NULL, *tenant = "sys", *password = "";
        json_t *rights = NULL;
        if (json_unpack(entry, "{s:s, s?s, s?s, s?o}", "user", &user, "tenant", &tenant, "password", &password,
                        "rights", &rights) != 0)
            continue;
        if (strcmp(user, a->user) == 0 && strcmp(tenant, a->tenant) == 0) {
            snprintf(a->password, sizeof a->password, "%s", password);
            a->rights = rights_of(rights);
            found = true;
            break;
        }
    }
    json_decref(file);
    return found;
}

bool sql_login_name(const struct sql_server *srv, const char *login, struct sql_account *out, struct sql_err *err)
{
    *out = (struct sql_account){0};
    const char *hash = strrchr(login, '#');
    size_t len = hash ? (size_t)(hash - login) : strlen(login);
    const char *at = memchr(login, '@', len);
    size_t user_len = at ? (size_t)(at - login) : len;
    snprintf(out->user, sizeof out->user, "%.*s", (int)user_len, login);
    snprintf(out->tenant, sizeof out->tenant, "%.*s", at ? (int)(len - user_len - 1) : 3, at ? at + 1 : "sys");
    if (hash && strcmp(hash + 1, host_cluster_name(srv->host)) != 0)
        return sql_fail(err, OB_CLUSTER_NO_MATCH, "cluster name does not match");
    return true;
}

bool sql_login_check(const struct sql_server *srv, const uint8_t *scramble, const uint8_t *answer, size_t answer_len,
                     struct sql_account *acc, struct sql_err *err)
{
    if (find_account(srv, acc) && password_fits(acc->password, scramble, answer, answer_len))
        return true;
    return sql_fail(err, SQL_E_ACCESS, "Access denied for user '%s'@'xxx.xxx.xxx.xxx' (using password: %s)", acc->user,
                    answer_len ? "YES" : "NO");
}
