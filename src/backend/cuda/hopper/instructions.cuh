#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstdint>

// The instructions of compute capability 9.0a that products of 16-bit floats are made of: barriers in shared
// memory, copies of tiles, and products by groups of four warps.
namespace wick::cuda::hopper {

__device__ inline std::uint32_t shared_address(const void* p) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(p));
}

/// A phase ends when the expected arrivals and bytes have come; waiters name the parity of the phase.
struct Barrier {
  std::uint64_t state;

  __device__ void init(int arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(this)), "r"(arrivals)
                 : "memory");
  }
  __device__ void arrive() {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(this)) : "memory");
  }
  /// For others, too.
  __device__ void arrive(int count) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(this)), "r"(count)
                 : "memory");
  }
  /// Arrives, and lets the phase wait for so many bytes of copies as well.
  __device__ void arrive_expecting(int bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(this)),
                 "r"(bytes)
                 : "memory");
  }
  __device__ void wait(int parity) {
    asm volatile(
        "{\n"
        ".reg .pred done;\n"
        "again:\n"
        "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
        "@done bra finished;\n"
        "bra again;\n"
        "finished:\n"
        "}" ::"r"(shared_address(this)),
        "r"(parity)
        : "memory");
  }
};

__device__ inline void prefetch_map(const CUtensorMap& map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}
/// Starts the copy of a box of a matrix to shared memory, which `done` counts.
__device__ inline void load_box(void* to, const CUtensorMap& map, int column, int row, Barrier& done) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], "
      "[%2];" ::"r"(shared_address(to)),
      "l"(&map), "r"(shared_address(&done)), "r"(column), "r"(row)
      : "memory");
}
/// The same for a tensor [batch, head, row, column].
__device__ inline void load_box(void* to, const CUtensorMap& map, int column, int row, int head, int batch,
                                Barrier& done) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, "
      "%6}], [%2];" ::"r"(shared_address(to)),
      "l"(&map), "r"(shared_address(&done)), "r"(column), "r"(row), "r"(head), "r"(batch)
      : "memory");
}
/// Starts the copy of a box from shared memory; what lies outside of the matrix is left out.
__device__ inline void store_box(const CUtensorMap& map, const void* from, int column, int row) {
  asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2, %3}], [%1];" ::"l"(&map),
               "r"(shared_address(from)), "r"(column), "r"(row)
               : "memory");
}
/// Starts a copy of neighbouring bytes, a multiple of 16 at such an address, to shared memory.
__device__ inline void load_bytes(void* to, const void* from, int bytes, Barrier& done) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
          shared_address(to)),
      "l"(from), "r"(bytes), "r"(shared_address(&done))
      : "memory");
}
__device__ inline void commit_stores() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
/// Until shared memory may be written again.
__device__ inline void wait_stores_read() { asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory"); }
__device__ inline void wait_stores() { asm volatile("cp.async.bulk.wait_group 0;" ::: "memory"); }

/// Before the copy engine or tensor cores read what this thread wrote to shared memory.
__device__ inline void fence_for_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

/// What was written before, by threads that this one has waited for, too, can be seen by those that read the
/// value with load_acquire.
__device__ inline void store_release(unsigned int* to, unsigned int value) {
  asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(to), "r"(value) : "memory");
}
__device__ inline unsigned int load_acquire(const unsigned int* from) {
  unsigned int value;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(from) : "memory");
  return value;
}

/// Some warps of a block wait for each other.
__device__ inline void sync_threads(int barrier, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}

/// A group of four warps gives registers back, or takes what others gave: `registers` each thread then.
template <int registers>
__device__ inline void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(registers));
}
template <int registers>
__device__ inline void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers));
}

/// Where a matrix of 16-bit elements lies in shared memory, for products: lines of 128 bytes (64 elements)
/// whose 16-byte pieces are swizzled by the line, eight lines together, at a multiple of 1024 bytes. Lines
/// run along what is summed over, or with `block_step` across it: then that many bytes lie between blocks of
/// 64 elements.
__device__ inline std::uint64_t operand(const void* at, int block_step) {
  const std::uint64_t address = (shared_address(at) & 0x3ffff) >> 4;
  return address | static_cast<std::uint64_t>(block_step >> 4) << 16 | std::uint64_t{64} << 32 |
         std::uint64_t{1} << 62;
}

/// The same of a matrix whose lines are 64 bytes (32 elements) and run across what is summed over.
__device__ inline std::uint64_t short_line_operand(const void* at) {
  const std::uint64_t address = (shared_address(at) & 0x3ffff) >> 4;
  return address | std::uint64_t{32} << 32 | std::uint64_t{2} << 62;
}

/// Products run on their own: begin before the first one, commit behind the last, and wait until at most
/// `pending` commits are under way before the sums are read or operands are written.
__device__ inline void begin_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void commit_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int pending>
__device__ inline void wait_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}

#define WICK_NAMES_16 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define WICK_SUMS_16(d)                                                                           \
  "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), \
      "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15])
#define WICK_NAMES_32 \
  WICK_NAMES_16 ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define WICK_SUMS_32(d)                                                                          \
  WICK_SUMS_16(d), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), \
      "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), \
      "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
#define WICK_NAMES_64                                                                                 \
  WICK_NAMES_32                                                                                       \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, " \
  "%51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define WICK_SUMS_64(d)                                                                          \
  WICK_SUMS_32(d), "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), \
      "+f"(d[38]), "+f"(d[39]), "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), \
      "+f"(d[45]), "+f"(d[46]), "+f"(d[47]), "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), \
      "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), \
      "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])
#define WICK_NAMES_96                                                                                 \
  WICK_NAMES_64                                                                                       \
  ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, " \
  "%83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define WICK_SUMS_96(d)                                                                          \
  WICK_SUMS_64(d), "+f"(d[64]), "+f"(d[65]), "+f"(d[66]), "+f"(d[67]), "+f"(d[68]), "+f"(d[69]), \
      "+f"(d[70]), "+f"(d[71]), "+f"(d[72]), "+f"(d[73]), "+f"(d[74]), "+f"(d[75]), "+f"(d[76]), \
      "+f"(d[77]), "+f"(d[78]), "+f"(d[79]), "+f"(d[80]), "+f"(d[81]), "+f"(d[82]), "+f"(d[83]), \
      "+f"(d[84]), "+f"(d[85]), "+f"(d[86]), "+f"(d[87]), "+f"(d[88]), "+f"(d[89]), "+f"(d[90]), \
      "+f"(d[91]), "+f"(d[92]), "+f"(d[93]), "+f"(d[94]), "+f"(d[95])
#define WICK_NAMES_112                                                                       \
  WICK_NAMES_96                                                                              \
  ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, " \
  "%111"
#define WICK_SUMS_112(d)                                                                                \
  WICK_SUMS_96(d), "+f"(d[96]), "+f"(d[97]), "+f"(d[98]), "+f"(d[99]), "+f"(d[100]), "+f"(d[101]),      \
      "+f"(d[102]), "+f"(d[103]), "+f"(d[104]), "+f"(d[105]), "+f"(d[106]), "+f"(d[107]), "+f"(d[108]), \
      "+f"(d[109]), "+f"(d[110]), "+f"(d[111])
#define WICK_NAMES_128 \
  WICK_NAMES_112       \
  ", %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define WICK_SUMS_128(d)                                                                                \
  WICK_SUMS_112(d), "+f"(d[112]), "+f"(d[113]), "+f"(d[114]), "+f"(d[115]), "+f"(d[116]), "+f"(d[117]), \
      "+f"(d[118]), "+f"(d[119]), "+f"(d[120]), "+f"(d[121]), "+f"(d[122]), "+f"(d[123]), "+f"(d[124]), \
      "+f"(d[125]), "+f"(d[126]), "+f"(d[127])

#define WICK_PRODUCT(columns, count, a, b, more, left_way, right_way)                                \
  if constexpr (N == columns)                                                                        \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #more                                            \
               ", 0;\n"                                                                              \
               "wgmma.mma_async.sync.aligned.m64n" #columns "k16.f32.bf16.bf16 {" WICK_NAMES_##count \
               "}, %" #a ", %" #b ", p, 1, 1, %" #left_way ", %" #right_way ";\n}"                   \
               : WICK_SUMS_##count(d)                                                                \
               : "l"(left), "l"(right), "r"(accumulate), "n"(left_by_columns ? 1 : 0), "n"(by_rows ? 1 : 0))

/// d [64, N] (+)= left [64, 16] right [16, N]; the left's rows and the right's columns are rows in shared
/// memory, or `left_by_columns` the left's columns and `by_rows` the right's own rows.
template <int N, bool by_rows, bool left_by_columns = false>
__device__ inline void multiply(float (&d)[N / 2], std::uint64_t left, std::uint64_t right, int accumulate) {
  WICK_PRODUCT(32, 16, 16, 17, 18, 19, 20);
  WICK_PRODUCT(64, 32, 32, 33, 34, 35, 36);
  WICK_PRODUCT(128, 64, 64, 65, 66, 67, 68);
  WICK_PRODUCT(192, 96, 96, 97, 98, 99, 100);
  WICK_PRODUCT(224, 112, 112, 113, 114, 115, 116);
  WICK_PRODUCT(256, 128, 128, 129, 130, 131, 132);
}

#define WICK_PRODUCT_OF_REGISTERS(columns, count, a0, a1, a2, a3, b, more, c)                         \
  if constexpr (N == columns)                                                                         \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #more                                             \
               ", 0;\n"                                                                               \
               "wgmma.mma_async.sync.aligned.m64n" #columns "k16.f32.bf16.bf16 {" WICK_NAMES_##count  \
               "}, {%" #a0 ", %" #a1 ", %" #a2 ", %" #a3 "}, %" #b ", p, 1, 1, %" #c ";\n}"           \
               : WICK_SUMS_##count(d)                                                                 \
               : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "l"(right), "r"(accumulate), \
                 "n"(by_rows ? 1 : 0))

/// d [64, N] (+)= left [64, 16] right [16, N]; the left's 16 rows of each warp in registers, as LeftTile has
/// them, the right's rows are rows in shared memory, or its columns.
template <int N, bool by_rows>
__device__ inline void multiply(float (&d)[N / 2], const std::uint32_t (&left)[4], std::uint64_t right,
                                int accumulate) {
  WICK_PRODUCT_OF_REGISTERS(32, 16, 16, 17, 18, 19, 20, 21, 22);
  WICK_PRODUCT_OF_REGISTERS(64, 32, 32, 33, 34, 35, 36, 37, 38);
  WICK_PRODUCT_OF_REGISTERS(128, 64, 64, 65, 66, 67, 68, 69, 70);
  WICK_PRODUCT_OF_REGISTERS(224, 112, 112, 113, 114, 115, 116, 117, 118);
  WICK_PRODUCT_OF_REGISTERS(256, 128, 128, 129, 130, 131, 132, 133, 134);
}

}  // namespace wick::cuda::hopper
