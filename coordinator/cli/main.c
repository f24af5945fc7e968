#include "base/clock.h"
#include "cli/cli.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static obv_code connect_it(obv_cli *c, obv_err *err)
{
    if (strcmp(c->noun, "config") == 0)
        return OBV_OK;
    if (!c->coordinator)
        return strcmp(c->noun, "version") == 0
                   ? OBV_OK
                   : obv_fail(err, OBV_E_CONFIG, 0,
                              "no coordinator: --coordinator, OBVAULT_COORDINATOR or /etc/obvault/cli.yaml");
    const obv_rpc_tls tls = {c->ca, c->cert, c->key};
    const bool local = strncmp(c->coordinator, "unix:", 5) == 0;
    if (!local && (!c->ca || !c->cert || !c->key))
        return obv_fail(err, OBV_E_CONFIG, 0, "no certificate: --ca, --cert and --key, or OBVAULT_CA, _CERT and _KEY");
    return obv_rpc_channel_open(c->coordinator, local ? NULL : &tls, &c->ch, err);
}

int main(int argc, char **argv)
{
    obv_cli c = {
        .out = stdout, .note = stderr, .note_is_terminal = isatty(STDERR_FILENO) == 1, .began_ns = obv_mono_ns()};
    const obv_cli_command *k = NULL;
    obv_err err = {0};
    (void)signal(SIGPIPE, SIG_IGN);
    obv_code code = obv_cli_parse(argc, argv, &c, &err);
    if (code == OBV_OK)
        code = obv_cli_find(&c, &k, &err);
    if (code == OBV_OK)
        code = connect_it(&c, &err);
    if (code == OBV_OK)
        code = k->run(&c, &err);
    obv_rpc_channel_close(c.ch);
    if (code != OBV_OK && !c.silent)
        obv_cli_print_error(&c, &err);
    return obv_code_describe(code)->exit_code;
}
