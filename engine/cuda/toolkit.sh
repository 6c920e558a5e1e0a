#!/bin/sh
# Makes a CUDA toolkit that suffices to build `--features cuda`, on a machine without GPU, driver or CUDA installation.
#
#   engine/cuda/toolkit.sh DIR              makes it in DIR, from wheels of PyPI (242 MiB) and with a C compiler
#   eval "$(engine/cuda/toolkit.sh DIR)"    does the same, and sets the variables with which cargo finds it; then:
#   cargo build --release --features cuda
#
# If the CUDA 13.0 toolkit is installed, this script is not needed. With WHEELS=FOLDER the wheels come from a folder
# instead of the network. CUDA_COMPUTE_CAP is the compute capability of the build; the default is 90 (H100, H200).
#
# nvcc, its headers and the static runtime are NVIDIA's. Linking needs neither the driver nor cuBLAS, cuRAND and NVRTC:
# the script makes stub libraries with the same sonames and with the functions that cudarc declares. The built program
# loads the real libraries when it starts, and does not start without them.
set -eu

[ $# -eq 1 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2; }
mkdir -p "$1"
dir=$(cd "$1" && pwd)
root=$(cd "$(dirname "$0")/../.." && pwd)
home=$dir/nvidia/cu13

# The toolkit is version 13.0, because a driver of the 580 branch rejects PTX of newer versions.
wheels="nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-runtime==13.0.96
        nvidia-cuda-cccl==13.0.85 nvidia-cuda-nvrtc==13.0.88 nvidia-curand==10.4.0.35"

unpack() {
    if [ -z "${WHEELS:-}" ]; then
        # shellcheck disable=SC2086
        python3 -m pip download --quiet --no-deps --dest "$dir/wheels" $wheels >&2
    fi
    for wheel in "${WHEELS:-$dir/wheels}"/nvidia_*.whl; do
        python3 -m zipfile -e "$wheel" "$dir"
    done
    chmod +x "$home"/bin/* "$home"/nvvm/bin/*
    ln -sfn lib "$home/lib64"
}

# stub MODULE LIBRARY SONAME: makes a library of empty functions, one for every function that cudarc's MODULE declares.
stub() {
    grep -ohE 'fn (cu|nvrtc|cublas|curand)[A-Za-z0-9_]+ *\(' "$cudarc/src/$1/sys/mod.rs" |
        sed -E 's/fn ([A-Za-z0-9_]+).*/void \1(void){}/' | sort -u >"$home/lib/stubs/$2.c"
    "${CC:-cc}" -shared -fPIC -Wl,-soname,"$3" -o "$home/lib/stubs/lib$2.so" "$home/lib/stubs/$2.c"
}

stubs() {
    (cd "$root" && cargo fetch --quiet >&2)
    version=$(sed -n '/^name = "cudarc"$/{n;s/version = "\(.*\)"/\1/p;}' "$root/Cargo.lock")
    cudarc=$(ls -d "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/cudarc-"$version" | tail -n 1)
    mkdir -p "$home/lib/stubs"
    stub driver cuda libcuda.so.1
    stub nvrtc nvrtc libnvrtc.so.13
    stub curand curand libcurand.so.10
    stub cublas cublas libcublas.so.13
    stub cublaslt cublasLt libcublasLt.so.13
    printf 'INPUT(%s/lib/libcudart_static.a)\n' "$home" >"$home/lib/libcudart.so"
}

if [ ! -e "$dir/made" ]; then
    unpack
    stubs
    touch "$dir/made"
fi

cat <<ENVIRONMENT
export CUDA_HOME='$home' CUDA_PATH='$home' CUDA_ROOT='$home' NVCC='$home/bin/nvcc' PATH='$home/bin':"\$PATH"
export CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP:-90} CUDARC_CUDA_VERSION=13000
ENVIRONMENT
