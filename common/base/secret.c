#include "base/secret.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

struct obv_secret {
    size_t len;
    char text[]; /* terminated */
};

static obv_secret *make(const char *text, size_t len)
{
    obv_secret *s = malloc(sizeof *s + len + 1);
    if (!s)
        return NULL;
    s->len = len;
    memcpy(s->text, text, len);
    s->text[len] = '\0';
    return s;
}

obv_secret *obv_secret_new(const char *text) { return make(text, strlen(text)); }

void obv_secret_free(obv_secret *s)
{
    if (s)
        explicit_bzero(s->text, s->len);
    free(s);
}

const char *obv_secret_reveal(const obv_secret *s) { return s ? s->text : ""; }
const char *obv_secret_mask(const obv_secret *s) { return s && s->len ? "***" : ""; }

static obv_code parse(const char *path, const char *text, size_t got, obv_secret **out, obv_err *err)
{
    if (got > OBV_SECRET_MAX)
        return obv_fail(err, OBV_E_CONFIG, 0, "secret file %s: longer than %u bytes", path, OBV_SECRET_MAX);
    size_t len = 0;
    while (len < got && text[len] != '\n')
        len++;
    if (len < got && len + 1 != got)
        return obv_fail(err, OBV_E_CONFIG, 0, "secret file %s: more than one line", path);
    if (len > 0 && text[len - 1] == '\r')
        len--;
    if (len == 0)
        return obv_fail(err, OBV_E_CONFIG, 0, "secret file %s: empty", path);
    if (memchr(text, '\0', len))
        return obv_fail(err, OBV_E_CONFIG, 0, "secret file %s: holds a zero byte", path);
    *out = make(text, len);
    return *out ? OBV_OK : obv_fail(err, OBV_E_NOMEM, 0, "secret file %s", path);
}

obv_code obv_secret_load(const char *path, obv_secret **out, obv_err *err)
{
    OBV_AUTO(obv_close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        const int e = errno;
        return obv_fail(err, obv_code_from_errno(e), e, "open secret file %s: %s", path, strerrordesc_np(e));
    }
    if (S_ISREG(st.st_mode) && (st.st_mode & (S_IROTH | S_IWOTH)))
        return obv_fail(err, OBV_E_CONFIG, 0, "secret file %s is open to everybody: chmod o-rwx", path);
    char text[OBV_SECRET_MAX + 1];
    size_t got = 0;
    obv_code code = obv_fd_read_at(fd, text, sizeof text, 0, &got, path, err);
    if (code == OBV_OK)
        code = parse(path, text, got, out, err);
    explicit_bzero(text, sizeof text);
    return code;
}
