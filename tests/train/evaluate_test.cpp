#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "train/training_harness.h"
#include "wick/error.h"
#include "wick/safetensors.h"
#include "wick/trainer.h"

namespace wick {
namespace {

using ::testing::HasSubstr;

std::vector<double> logits_of(const Model& model, std::span<const std::int32_t> ids) {
  ModelInput input;
  input.ids = Tensor::from(ids, Shape{1, static_cast<std::int64_t>(ids.size())});
  const std::vector<float> values = model.forward(input).to_vector<float>();
  return {values.begin(), values.end()};
}

/// Mean negative log likelihood, row by row, in float64 from the logits.
double reference_loss(const Model& model, const Dataset& data) {
  constexpr std::size_t vocab = 64;
  double total = 0;
  int targets = 0;
  for (std::size_t r = 0; r < data.size(); ++r) {
    const DatasetRow row = data.row(r);
    const std::vector<double> logits = logits_of(model, row.ids);
    for (std::size_t i = 0; i + 1 < row.ids.size(); ++i) {
      if (row.labels[i + 1] == ignored_label) continue;
      double sum = 0;
      for (std::size_t c = 0; c < vocab; ++c) sum += std::exp(logits[i * vocab + c]);
      total += std::log(sum) - logits[i * vocab + static_cast<std::size_t>(row.labels[i + 1])];
      ++targets;
    }
  }
  return total / targets;
}

TEST(Evaluate, IsTheMeanOverAllTargetsWhateverTheBatches) {
  const Model model = tiny_model();
  const Dataset data = tiny_data(11);
  const double expected = reference_loss(model, data);
  for (std::int64_t batch_size : {1, 4, 32}) {
    const EvalResult result = evaluate(model, nullptr, data, batch_size, 40);
    EXPECT_NEAR(result.loss, expected, 1e-5) << batch_size;
    EXPECT_DOUBLE_EQ(result.perplexity, std::exp(result.loss));
    EXPECT_EQ(result.tokens, data.tokens() - static_cast<std::int64_t>(data.size()));
  }
}

TEST(Evaluate, AnAdapterCounts) {
  const Model model = tiny_model();
  const LoraAdapter adapter = tiny_adapter(model, 0.5);  // its dropout is for training only
  const Dataset data = tiny_data(4);
  const double with = evaluate(model, &adapter, data, 4, 40).loss;
  EXPECT_NE(with, evaluate(model, nullptr, data, 4, 40).loss);
  EXPECT_EQ(with, evaluate(model, &adapter, data, 4, 40).loss);
}

TEST(Evaluate, ALossThatIsNotFiniteIsAnError) {
  Model model = tiny_model();
  std::vector<float> norm = model.parameter("model.norm.weight").to_vector<float>();
  norm[3] = std::numeric_limits<float>::quiet_NaN();
  model.set_parameter("model.norm.weight", Tensor::from(norm, {32}));
  EXPECT_THAT(message_of<NumericError>([&] { evaluate(model, nullptr, tiny_data(3), 2, 32); }),
              HasSubstr("the loss over tiny.jsonl is nan: a weight of the model is not finite"));
}

class WriteLogits : public ::testing::Test {
 protected:
  /// Writes `input_ids` and, where given, `attention_mask`, and the logits of both.
  void write(const Shape& shape, const std::vector<std::int64_t>& ids, const std::vector<std::int64_t>& mask,
             std::int64_t batch_size) {
    std::vector<TensorToWrite> tensors{{"input_ids", DType::i64, shape, std::as_bytes(std::span(ids))}};
    if (!mask.empty())
      tensors.push_back({"attention_mask", DType::i64, shape, std::as_bytes(std::span(mask))});
    write_safetensors(data_, tensors);
    write_logits(model_, nullptr, data_, out_, batch_size);
    const Safetensors file = Safetensors::open(out_);
    const TensorInfo& info = file.at("logits");
    shape_ = info.shape;
    logits_ = Tensor::from_bytes(info.bytes, info.shape, info.dtype).to_vector<float>();
  }

  TemporaryDirectory directory_;
  std::filesystem::path data_ = directory_.path() / "data.safetensors";
  std::filesystem::path out_ = directory_.path() / "logits.safetensors";
  Model model_ = tiny_model();
  Shape shape_;
  std::vector<float> logits_;
};

TEST_F(WriteLogits, InTheShapeOfTheIds) {
  std::vector<std::int64_t> ids(2 * 3 * 5);
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int64_t>(i * 7 % 64);
  for (std::int64_t batch_size : {1, 4, 8}) {
    write({2, 3, 5}, ids, {}, batch_size);
    EXPECT_EQ(shape_, (Shape{2, 3, 5, 64}));
    const std::vector<std::int32_t> row(ids.begin() + 20, ids.begin() + 25);
    const std::vector<double> expected = logits_of(model_, row);
    for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(logits_[4 * 5 * 64 + i], expected[i], 1e-5);
  }
  write({6, 5}, ids, {}, 4);
  EXPECT_EQ(shape_, (Shape{6, 5, 64}));
}

TEST_F(WriteLogits, NoPlaceAttendsToPadding) {
  write({2, 4}, {9, 9, 3, 4, 5, 6, 9, 9}, {0, 0, 1, 1, 1, 1, 0, 0}, 2);
  const std::vector<float> padded = logits_;
  write({2, 4}, {20, 30, 3, 4, 5, 6, 40, 50}, {0, 0, 1, 1, 1, 1, 0, 0}, 2);
  for (std::size_t place : {2, 3, 4, 5})
    for (std::size_t c = 0; c < 64; ++c) EXPECT_EQ(logits_[place * 64 + c], padded[place * 64 + c]) << place;
}

TEST_F(WriteLogits, RefusesWhatTheModelCannotRead) {
  EXPECT_THAT(message_of<DataError>([&] {
                write({1, 3}, {1, 64, 2}, {}, 1);
              }),
              HasSubstr("element 1 of input_ids is 64; the model's vocabulary has 64 tokens"));
  EXPECT_THAT(message_of<DataError>([&] { write({3}, {1, 2, 3}, {}, 1); }), HasSubstr("not [3]"));
  EXPECT_THROW(write_logits(model_, nullptr, directory_.path() / "absent.safetensors", out_), FileError);
}

}  // namespace
}  // namespace wick
