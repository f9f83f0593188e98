#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/elementwise_tiles.h"

namespace wick {

/// A group of elementwise ops as a tiny program over registers, each a tile of one compute type: inputs are
/// loaded into registers (broadcast to the output's shape), instructions work on registers, results are
/// stored. A single op is a program of one instruction; a fused group passes over memory once.
struct ElementwiseProgram {
  static constexpr std::size_t max_registers = 24;
  using Register = std::uint8_t;

  /// `target`, which no instruction writes, takes input number `input` (an index into the slots given to the
  /// kernel).
  struct Load {
    Register target;
    std::uint8_t input;
  };
  /// `target`, which no instruction writes, holds one number.
  struct Fill {
    Register target;
    double value;
  };
  struct Instruction {
    TileFunction function;
    std::array<Register, 3> operands;
    Register target;
  };
  struct Store {
    Register source;
    std::uint8_t output;
  };

  std::vector<DType> registers;  ///< compute type of each
  std::vector<Load> loads;
  std::vector<Fill> fills;
  std::vector<Instruction> instructions;
  std::vector<Store> stores;

  /// A new register. Throws InternalError beyond `max_registers`.
  Register add_register(DType type);
};

/// Runs a program. Outputs are contiguous and of one shape, which the inputs broadcast to.
class ElementwiseKernel final : public Kernel {
 public:
  ElementwiseKernel(const ElementwiseProgram& program, std::span<const Slot> inputs,
                    std::span<const Slot> outputs);

  /// For programs of one output.
  void run(const void* const* inputs, void* output, void* /*scratch*/) const override {
    run(inputs, &output);
  }
  void run(const void* const* inputs, void* const* outputs) const;
  void run_results(const void* const* inputs, void* const* outputs, void* /*scratch*/) const override {
    run(inputs, outputs);
  }

 private:
  using Register = ElementwiseProgram::Register;

  struct Load {
    Register target;
    std::uint8_t input;
    std::uint8_t bytes;  // of an element
    bool direct;         // memory has the register's type
    bool contiguous;     // the whole input is row-major
    TileLoad function;
    Strides strides;  // over dims_
  };
  struct Store {
    Register source;
    std::uint8_t output;
    std::uint8_t bytes;
    TileStore function;
  };
  struct Fill {
    Register target;
    TileLoad function;
    alignas(8) std::array<std::byte, 8> element;
  };
  struct Position;

  void collapse_dims(const Shape& shape);
  bool is_flat() const;
  void run_flat(const void* const* inputs, void* const* outputs) const;
  void run_tiles(const void* const* inputs, void* const* outputs, std::int64_t begin, std::int64_t end) const;
  void prefetch(const void* const* inputs, std::int64_t begin, std::int64_t end) const;
  const std::byte* load_tile(const Load& load, const std::byte* input, const Position& position,
                             std::size_t n, std::byte* buffer) const;

  std::array<std::int64_t, max_rank> dims_{};  // with neighbours joined where every input allows it
  int rank_ = 0;
  std::int64_t count_ = 0;
  bool flat_ = false;
  std::vector<Load> uniform_loads_;  // one number for the whole output
  std::vector<Load> loads_;
  std::vector<Fill> fills_;
  std::vector<ElementwiseProgram::Instruction> instructions_;
  std::vector<Store> stores_;
  /// The store of the last instruction's result when it needs no conversion: that instruction writes to the
  /// output. Only that one may, for the output can lie where an input does that earlier instructions left to
  /// be read.
  int direct_store_ = -1;
};

}  // namespace wick
