# What the library links: Debian 12 packages all, installed by tools/install-deps.sh.
# Read by the build, and, installed beside wickConfig.cmake, by find_package(wick): a static library leaves it to its
# user to link what it needs. Whoever includes this file says what wick_dependency() does when a package is missing.
wick_dependency(OpenMP COMPONENTS CXX)
wick_dependency(dnnl)
wick_dependency(fmt)
wick_dependency(PkgConfig)
pkg_check_modules(HWY REQUIRED IMPORTED_TARGET libhwy)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
