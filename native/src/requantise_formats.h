// Formats of weights by name, and what one of them does to a matrix.

#pragma once

#include <ggml.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "importance.h"

namespace coder_lsp {

// The format called so by ggml ("q4_0", "f16"). Throws Fault engine for any other name.
ggml_type format_named(const std::string& name);

// A weight in a model file.
struct Matrix {
    std::string name;
    std::string format;
    std::vector<std::int64_t> shape;  // columns first
    std::size_t bytes = 0;
};

// All tensors of a file, in its order. Throws Fault as inspect_gguf() does.
std::vector<Matrix> read_matrices(const std::string& path);

// Bytes of a row; 0 if the format does not divide it into whole blocks.
std::size_t row_bytes(const std::string& format, std::int64_t columns);

// (name, format) -> share of the weights' square that quantising loses, both weighed by importance. A sample of at most
// `rows` rows of each matrix. Throws Fault.
using Errors = std::map<std::pair<std::string, std::string>, double>;
Errors quantisation_errors(const std::string& path, const std::map<std::string, std::vector<std::string>>& formats,
                           const Importance& importance, std::size_t rows, std::int32_t threads);

}  // namespace coder_lsp
