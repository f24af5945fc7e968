# packages.sh - sourced: what a bare Debian 12 needs to build and test obvault
#
# obv_install_packages installs what is missing, as root or through sudo. It prints nothing when all is there.

OBV_BUILD_PACKAGES=(gcc g++ cmake ninja-build pkg-config libmariadb-dev liburing-dev libcurl4-openssl-dev libzstd-dev
    liblz4-dev libssl-dev libisal-dev libprotobuf-c-dev protobuf-c-compiler protobuf-compiler libgrpc-dev libsqlite3-dev
    libcyaml-dev libyaml-dev libjansson-dev libexpat1-dev libmicrohttpd-dev libcmocka-dev)
OBV_RUN_PACKAGES=(openssl zstd procps util-linux python3 python3-zstandard python3-lz4 python3-crcmod)
OBV_TEST_PACKAGES=(clang-14 libclang-rt-14-dev clang-format-14 git)

obv_install_packages() {
    local missing=() p
    for p in "$@"; do
        dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    local sudo=()
    [ "$(id -u)" = 0 ] || sudo=(sudo)
    echo "installing: ${missing[*]}"
    "${sudo[@]}" apt-get update -qq
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}
