#!/bin/sh
# Prints the compiler flags that build llama.cpp without AMX, if this machine's compiler breaks AMX; else prints nothing. Add them to CFLAGS and CXXFLAGS.
# GCC before 11.5, 12.4 and 13.3 treats the operand of _tile_loadconfig as 8 instead of 64 bytes (GCC's bug 114098) and drops
# the stores to the other bytes: llama.cpp then crashes with SIGSEGV at the first prompt. Distributions change compilers without
# changing their version, so this compiles and runs a program that configures tiles as ggml does.
set -eu
cxx=${CXX:-$(command -v c++ || command -v g++ || command -v clang++ || :)}
flags="${CXXFLAGS-} -O3 -march=native"

# ggml uses AMX only where the compiler defines this name for this machine.
# shellcheck disable=SC2086
$cxx $flags -dM -E -x c++ /dev/null 2>/dev/null | grep -q __AMX_INT8__ || exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/amx.cpp" <<'END'
#include <immintrin.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

struct TileConfig {  // like tile_config_t in ggml-cpu/amx/mmq.cpp
    uint8_t palette_id = 0;
    uint8_t start_row = 0;
    uint8_t reserved_0[14] = {0};
    uint16_t colsb[16] = {0};
    uint8_t rows[16] = {0};
};

__attribute__((noinline)) static void configure() {
    alignas(64) TileConfig config = {};
    config.palette_id = 1;
    for (int tile = 0; tile < 8; tile++) {
        config.rows[tile] = 16;
        config.colsb[tile] = 64;
    }
    _tile_loadconfig(&config);  // dies if the bytes that were not stored are not zero
    _tile_zero(0);              // dies if they are: the tile then has no rows
    _tile_zero(7);
    _tile_release();
}

int main() {
    const int request_permission = 0x1023, tile_data = 18;
    if (syscall(SYS_arch_prctl, request_permission, tile_data) != 0) return 1;
    configure();
}
END
# shellcheck disable=SC2086
works() {
  $cxx $flags "$work/amx.cpp" -o "$work/amx" && (ulimit -c 0; "$work/amx"; exit $?)
}
works >/dev/null 2>&1 || echo "-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"
