#include "backend/cuda/elementwise_source.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "backend/cuda/runtime_compiler.h"
#include "ops/attributes.h"
#include "support/temporary_directory.h"
#include "wick/error.h"

// The kernels that are written for elementwise groups, compiled for real GPUs; no GPU is needed for that.
namespace wick::cuda {
namespace {

struct OpCase {
  std::string_view name;
  std::size_t inputs;
  bool predicate = false;
};

constexpr OpCase op_cases[] = {{"exp", 1},
                               {"log", 1},
                               {"sqrt", 1},
                               {"rsqrt", 1},
                               {"sin", 1},
                               {"cos", 1},
                               {"tanh", 1},
                               {"sigmoid", 1},
                               {"erf", 1},
                               {"silu", 1},
                               {"gelu", 1},
                               {"gelu_tanh", 1},
                               {"div", 2},
                               {"neg", 1},
                               {"sign", 1},
                               {"relu", 1},
                               {"sub", 2},
                               {"pow", 2},
                               {"abs", 1},
                               {"square", 1},
                               {"add", 2},
                               {"mul", 2},
                               {"minimum", 2},
                               {"maximum", 2},
                               {"clamp", 1},
                               {"equal", 2, true},
                               {"not_equal", 2, true},
                               {"less", 2, true},
                               {"less_equal", 2, true},
                               {"greater", 2, true},
                               {"greater_equal", 2, true},
                               {"logical_and", 2, true},
                               {"logical_or", 2, true},
                               {"logical_not", 1, true},
                               {"is_finite", 1, true}};

constexpr DType all_dtypes[] = {DType::bool_, DType::u8,   DType::i32, DType::i64,
                                DType::f16,   DType::bf16, DType::f32, DType::f64};

/// Ops that live as long as the groups that name them.
const Op& op_named(std::string_view name) {
  static auto& ops = *new std::map<std::string_view, Op>;
  Op& op = ops[name];
  op.name = name;
  return op;
}

ElementwiseGroup group_of(const OpCase& op, DType dtype) {
  ElementwiseGroup group;
  ElementwiseGroup::Instruction instruction{&op_named(op.name), {}, op.predicate ? DType::bool_ : dtype, {}};
  for (std::uint32_t i = 0; i < op.inputs; ++i) {
    group.inputs.push_back(dtype);
    instruction.operands.push_back(i);
  }
  if (op.name == "clamp") instruction.attrs = ClampAttrs{-1, 1};
  group.instructions.push_back(std::move(instruction));
  return group;
}

ElementwiseResult last_result(const ElementwiseGroup& group) {
  return {static_cast<std::uint32_t>(group.inputs.size() + group.instructions.size() - 1),
          group.instructions.back().dtype};
}

/// A cubin or nothing: its ELF header is asserted, so that an empty answer is seen.
void expect_compiles(const ElementwiseGroup& group, const ElementwiseShape& shape, int capability,
                     std::vector<ElementwiseResult> more = {}) {
  more.insert(more.begin(), last_result(group));
  const ElementwiseSource source = elementwise_source(group, more, shape);
  const std::string binary = compile(source.text, capability);
  EXPECT_EQ(binary.substr(1, 3), "ELF");
  EXPECT_NE(binary.find("single"), std::string::npos);
  EXPECT_EQ(binary.find("packed") != std::string::npos, shape.width > 1);
}

/// Kernels are compiled anew, whatever earlier runs left on this machine.
class ElementwiseSourceTest : public ::testing::Test {
 protected:
  void SetUp() override { setenv("WICK_KERNEL_CACHE", "off", 1); }
  void TearDown() override { unsetenv("WICK_KERNEL_CACHE"); }
};

TEST_F(ElementwiseSourceTest, EveryOpCompilesOnEveryDtypeThatHasIt) {
  int compiled = 0;
  for (const OpCase& op : op_cases)
    for (DType dtype : all_dtypes) {
      if (!has_elementwise_code(op.name, dtype)) continue;
      SCOPED_TRACE(std::string(op.name) + " " + std::string(name_of(dtype)));
      ++compiled;
      expect_compiles(group_of(op, dtype), {.flat = true, .width = 2, .packed = {true, false}}, 90);
    }
  EXPECT_EQ(compiled, 13 * 4 + 6 * 7 + 16 * 8);
}

TEST_F(ElementwiseSourceTest, CastsCompileBetweenAllDtypes) {
  for (DType from : all_dtypes) {
    for (DType to : all_dtypes) {
      if (from == to) continue;
      SCOPED_TRACE(std::string(name_of(from)) + " to " + std::string(name_of(to)));
      ElementwiseGroup group;
      group.inputs = {from};
      group.instructions.push_back({&op_named("cast"), {}, to, {0}});
      expect_compiles(group, {.packed = {false}}, 90);
    }
  }
}

/// where(x > 2, clamp(silu(x) y, ...), 2) with a narrow x, rounded to bf16.
ElementwiseGroup mixed_group() {
  ElementwiseGroup group;
  group.inputs = {DType::bf16, DType::f32};
  const auto f32 = DType::f32;
  const Attrs two = ConstantAttrs{2, static_cast<std::int64_t>(f32)};
  group.instructions = {{&op_named("constant"), two, f32, {}},
                        {&op_named("silu"), {}, f32, {0}},
                        {&op_named("mul"), {}, f32, {3, 1}},
                        {&op_named("clamp"), ClampAttrs{-3, 5}, f32, {4}},
                        {&op_named("greater"), {}, DType::bool_, {0, 2}},
                        {&op_named("where"), {}, f32, {6, 5, 2}},
                        {&op_named("cast"), {}, DType::bf16, {7}}};
  return group;
}

TEST_F(ElementwiseSourceTest, GroupsCompileForEveryShapeAndGpu) {
  const ElementwiseGroup group = mixed_group();
  const ElementwiseShape shapes[] = {
      {.flat = true, .width = 8, .packed = {true, true}},
      {.flat = true, .width = 1, .packed = {true, false}},
      {.flat = false, .width = 8, .packed = {true, false}},
      {.flat = false, .width = 1, .packed = {false, false}},
      {.flat = false, .large = true, .width = 4, .packed = {false, true}},
      {.flat = true, .large = true, .width = 4, .packed = {true, true}},
  };
  for (const ElementwiseShape& shape : shapes)
    for (int capability : {80, 90}) {
      expect_compiles(group, shape, capability);
      expect_compiles(group, shape, capability, {{6, DType::bool_}, {4, DType::f32}});
    }
}

TEST_F(ElementwiseSourceTest, BatchesCompile) {
  ElementwiseGroup group = mixed_group();
  for (const std::size_t shared : {0, 1}) {
    group.shared = shared;
    for (int width : {1, 4})
      for (bool large : {false, true})
        expect_compiles(
            group,
            {.flat = true, .large = large, .width = width, .packed = {shared == 0, true}, .members = 50}, 90,
            {{4, DType::f32}});
  }
}

TEST_F(ElementwiseSourceTest, ConstantsAreArgumentsInTheOrderOfTheText) {
  const ElementwiseGroup group = mixed_group();
  const ElementwiseResult result = last_result(group);
  const ElementwiseSource source =
      elementwise_source(group, std::span(&result, 1), {.flat = true, .width = 8, .packed = {true, true}});
  ASSERT_EQ(source.constants.size(), 3u);
  EXPECT_EQ(source.constants[0].value, 2);
  EXPECT_EQ(source.constants[1].value, -3);
  EXPECT_EQ(source.constants[2].value, 5);
  EXPECT_NE(source.text.find("const float k2"), std::string::npos);
  EXPECT_EQ(source.text.find("const float k3"), std::string::npos);
}

TEST_F(ElementwiseSourceTest, AnErrorNamesWhatTheCompilerSays) {
  try {
    compile("extern \"C\" __global__ void f() { undeclared = 1; }", 90);
    FAIL() << "it compiled";
  } catch (const InternalError& error) {
    EXPECT_NE(std::string(error.what()).find("identifier \"undeclared\" is undefined"), std::string::npos);
  }
}

/// The files under a directory.
std::vector<std::filesystem::path> files_in(const std::filesystem::path& directory) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) files.push_back(entry.path());
  return files;
}

TEST(KernelCacheTest, ADamagedFileIsCompiledAgain) {
  const wick::testing::TemporaryDirectory folder;
  const std::filesystem::path path = folder.path() / "kernels";
  setenv("WICK_KERNEL_CACHE", path.c_str(), 1);
  const std::string source = "extern \"C\" __global__ void one(int* x) { *x = 1; }";
  const std::string binary = compile(source, 90);
  ASSERT_EQ(files_in(path).size(), 1u);
  const std::filesystem::path file = files_in(path)[0];
  const auto whole = std::filesystem::file_size(file);
  {
    std::fstream out(file, std::ios::in | std::ios::out | std::ios::binary);
    out.seekp(100);
    out.put('x').put('y').put('z');
  }
  EXPECT_EQ(compile(source, 90), binary);
  std::filesystem::resize_file(file, 10);
  EXPECT_EQ(compile(source, 90), binary);
  EXPECT_EQ(std::filesystem::file_size(file), whole);
  (void)compile(source, 80);
  EXPECT_EQ(files_in(path).size(), 2u);
  unsetenv("WICK_KERNEL_CACHE");
}

}  // namespace
}  // namespace wick::cuda
