"""fresh - a machine with only base Debian 12: a chroot, and the project's two commands in it"""
import os
import re
import shutil
import subprocess
import tempfile
import time

MOUNTS = ("proc", "sys", "dev")


def chroot_make(root):
    os.chmod(root, 0o755)  # the daemons' users go through it
    subprocess.run(["debootstrap", "--variant=minbase", "bookworm", root, mirror()], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, timeout=600)
    shutil.rmtree(root + "/etc/apt")  # this machine's own comes instead
    for name in ("/etc/apt", "/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs", "/usr/share/ca-certificates",
                 "/usr/local/share/ca-certificates"):
        if os.path.exists(name):
            os.makedirs(os.path.dirname(root + name), exist_ok=True)
            subprocess.run(["cp", "-aT", name, root + name], check=True)
    # a root that is a mount point of its own, as on a machine: private mount namespaces need one
    subprocess.run(["mount", "--bind", root, root], check=True)
    subprocess.run(["mount", "--make-private", root], check=True)
    for name in MOUNTS:
        os.makedirs(f"{root}/{name}", exist_ok=True)
        subprocess.run(["mount", "--rbind", f"/{name}", f"{root}/{name}"], check=True)
        subprocess.run(["mount", "--make-rslave", f"{root}/{name}"], check=True)


def mirror():
    """The Debian mirror this machine uses."""
    found = subprocess.run(["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages", "Codename: bookworm"],
                           stdout=subprocess.PIPE, text=True, check=False).stdout.split()
    return found[0] if found else "http://deb.debian.org/debian"


def chroot_drop(root):
    for name in reversed(MOUNTS):
        subprocess.run(["umount", "-R", "-l", f"{root}/{name}"], check=False, stderr=subprocess.DEVNULL)
    subprocess.run(["umount", "-l", root], check=False, stderr=subprocess.DEVNULL)
    shutil.rmtree(root, ignore_errors=True)


def quickstart(accept):
    if shutil.which("debootstrap") is None:
        subprocess.run(["apt-get", "install", "-y", "-qq", "debootstrap"], check=True, stdout=subprocess.DEVNULL)
    root = tempfile.mkdtemp(prefix="obvault-fresh-")
    try:
        chroot_make(root)
        installed = subprocess.run(["chroot", root, "dpkg-query", "-W"], stdout=subprocess.PIPE, text=True, check=True)
        os.makedirs(f"{root}/src/obvault")
        files = subprocess.run(["git", "archive", "HEAD"], cwd=accept.root, stdout=subprocess.PIPE, check=True).stdout
        subprocess.run(["tar", "-x", "-C", f"{root}/src/obvault"], input=files, check=True)
        env = {k: v for k, v in os.environ.items() if k.lower().endswith("_proxy")}
        env.update(PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", HOME="/root", LANG="C.UTF-8")
        began = time.monotonic()
        done = subprocess.run(["chroot", root, "/src/obvault/deploy/quickstart"], env=env, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=1500)
        took = time.monotonic() - began
        built = re.search(r"installed and compiled in (\d+) s", done.stdout)
        told = re.search(r"story told in (\d+) s: (.*)", done.stdout)
        ok = done.returncode == 0 and built and told and told.group(2) == "all digests equal" and int(told.group(1)) <= 180
        if not ok:
            print(done.stdout[-4000:], file=__import__("sys").stderr)
        return bool(ok), (f"{len(installed.stdout.splitlines())} base packages, exit {done.returncode}, installed and compiled in "
                          f"{built.group(1) if built else '?'} s, story {told.group(1) if told else '?'} s, "
                          f"{told.group(2) if told else 'no digests'}, {took:.0f} s in all")
    finally:
        chroot_drop(root)


def tests_run(accept):
    began = time.monotonic()
    code, out = accept.command(["tests/run", "--no-accept"], 1900)
    accept.tests_run_output = out
    took = time.monotonic() - began
    last = out.strip().splitlines()[-1] if out.strip() else ""
    ok = code == 0 and re.fullmatch(r"\d+ passed, 0 failed", last) and took <= 1800
    if not ok:
        print(out[-4000:], file=__import__("sys").stderr)
    return bool(ok), f"exit {code}, {took:.0f} s, last line '{last}'"
