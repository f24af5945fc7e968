/* no_io_uring COMMAND... - runs a command in which the kernel denies io_uring, as containers' seccomp profiles do
 *
 * OBV_NO_IO_URING tells a test that the fallback is what it must see.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))

int main(int argc, char **argv)
{
    /* setup, enter and register stand together in every architecture's table */
    struct sock_filter filter[] = {
        LOAD(nr),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, SYS_io_uring_setup, 0, 2),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, SYS_io_uring_register, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
    if (argc < 2) {
        (void)fprintf(stderr, "usage: no_io_uring COMMAND...\n");
        return 2;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        perror("seccomp");
        return 2;
    }
    if (syscall(SYS_io_uring_setup, 0, NULL) != -1 || errno != EPERM) {
        (void)fprintf(stderr, "io_uring is not denied: this would test nothing\n");
        return 2;
    }
    (void)setenv("OBV_NO_IO_URING", "1", 1);
    (void)execvp(argv[1], argv + 1);
    perror(argv[1]);
    return 2;
}
