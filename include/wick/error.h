#pragma once

#include <stdexcept>
#include <string>

namespace wick {

/// Base of everything that Wick throws. `what()` is one complete sentence (or a short list of lines)
/// that says what is wrong and, where one is known, what to do about it.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Shapes that do not fit an op, or an axis out of range.
class ShapeError : public Error {
  using Error::Error;
};
/// A dtype that an op or a backend does not take.
class DTypeError : public Error {
  using Error::Error;
};
/// An argument or a command-line flag outside its domain.
class ArgumentError : public Error {
  using Error::Error;
};
/// An unknown or absent device, or an op that a backend cannot run.
class DeviceError : public Error {
  using Error::Error;
};
/// The operating system refused a file operation (open, read, write, rename, fsync).
class FileError : public Error {
  using Error::Error;
};
/// A file was read but its content is malformed (safetensors, JSON, tokenizer, checkpoint).
class FormatError : public Error {
  using Error::Error;
};
/// A model or training configuration that is not supported or contradicts itself.
class ConfigError : public Error {
  using Error::Error;
};
/// Training or evaluation data that cannot be used; names the file and the line.
class DataError : public Error {
  using Error::Error;
};
/// An adapter that does not fit its base model; lists every mismatch.
class AdapterError : public Error {
  using Error::Error;
};
/// Memory that could not be had; states the bytes asked for.
class MemoryError : public Error {
  using Error::Error;
};
/// NaN or infinity where a finite number is required (a loss, a gradient norm).
class NumericError : public Error {
  using Error::Error;
};
/// A fault in Wick itself, never the caller's.
class InternalError : public Error {
  using Error::Error;
};

}  // namespace wick
