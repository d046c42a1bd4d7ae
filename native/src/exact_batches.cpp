#include "exact_batches.h"

#include <cstdint>
#include <cstring>

namespace coder_lsp {
namespace {

// Cells from which on ggml splits the cache for a single token (ops.cpp, use_split_kv_path).
constexpr std::int64_t split_cells = 512;

bool same_for_any_number_of_rows(ggml_type type) {
    switch (type) {
        case GGML_TYPE_Q4_0:
        case GGML_TYPE_Q4_1:
        case GGML_TYPE_Q5_0:
        case GGML_TYPE_Q5_1:
        case GGML_TYPE_Q8_0:
        case GGML_TYPE_IQ4_NL:
            return true;
        default:
            return false;
    }
}

// Heads (dimension 2) become heads and streams (dimension 3); a single one serves all streams.
void divide_heads(ggml_tensor& tensor, std::int64_t streams) {
    if (tensor.ne[2] == 1) return;
    tensor.ne[2] /= streams;
    tensor.ne[3] = streams;
    tensor.nb[3] = tensor.nb[2] * static_cast<std::size_t>(tensor.ne[2]);
}

void evaluate_unsplit(ggml_tensor& attention) {
    ggml_tensor* const query = attention.src[0];
    ggml_tensor* const key = attention.src[1];
    ggml_tensor* const value = attention.src[2];
    const ggml_tensor* const mask = attention.src[3];
    const ggml_tensor* const sinks = attention.src[4];
    const bool single = query->ne[1] == 1 && query->ne[3] == 1 && key->ne[3] == 1 && value->ne[3] == 1;
    if (!single || key->ne[1] < split_cells) return;
    // Sinks and linear biases are looked up by the number of the head, which is not the same within a stream.
    float max_bias = 0.0F;
    std::memcpy(&max_bias, attention.op_params + 1, sizeof max_bias);
    if (sinks || max_bias != 0.0F || (mask && (mask->ne[2] != 1 || mask->ne[3] != 1))) return;
    const std::int64_t key_heads = key->ne[2];
    const std::int64_t streams = key_heads > 1 ? key_heads : 2;
    if (query->ne[2] % streams != 0 || value->ne[2] != key_heads) return;
    divide_heads(*query, streams);
    divide_heads(*key, streams);
    divide_heads(*value, streams);
    // The result has the heads in dimension 1, in the same order.
    attention.ne[1] /= streams;
    attention.ne[3] = streams;
    attention.nb[2] = attention.nb[1] * static_cast<std::size_t>(attention.ne[1]);
    attention.nb[3] = attention.nb[2];
}

// Rows (dimension 1) become matrices of one row each (dimension 2).
void divide_rows(ggml_tensor& tensor) {
    const std::int64_t rows = tensor.ne[1];
    tensor.ne[1] = 1;
    tensor.ne[2] = rows;
    tensor.nb[2] = tensor.nb[1];
    tensor.nb[3] = tensor.nb[2] * static_cast<std::size_t>(rows);
}

void join_rows(ggml_tensor& tensor) {
    const std::int64_t rows = tensor.ne[2];
    tensor.ne[1] = rows;
    tensor.ne[2] = 1;
    tensor.nb[2] = tensor.nb[1] * static_cast<std::size_t>(rows);
    tensor.nb[3] = tensor.nb[2];
}

}  // namespace

// ggml asks before a node is evaluated, and again afterwards where the first answer was yes.
bool ExactBatches::on_node(ggml_tensor* node, bool before, void* self) {
    auto& batches = *static_cast<ExactBatches*>(self);
    if (before) return batches.begin(node);
    if (node == batches.changed_.node) batches.restore();
    return true;
}

bool ExactBatches::begin(ggml_tensor* node) {
    // A graph is used again for the next token: this is then done already, and is not done twice.
    if (node->op == GGML_OP_FLASH_ATTN_EXT) evaluate_unsplit(*node);
    if (!exact_ || node->op != GGML_OP_MUL_MAT) return false;
    const ggml_tensor* const weights = node->src[0];
    ggml_tensor* const rows = node->src[1];
    const bool plain_product = weights->ne[2] == 1 && weights->ne[3] == 1 && rows->ne[2] == 1 && rows->ne[3] == 1;
    if (!plain_product || rows->ne[1] < 2 || same_for_any_number_of_rows(weights->type)) return false;
    changed_.node = node;
    changed_.rows = rows;
    // A copy: what computed the rows, and what else reads them, must not see another shape.
    changed_.reshaped = *rows;
    divide_rows(changed_.reshaped);
    divide_rows(*node);
    node->src[1] = &changed_.reshaped;
    return true;
}

void ExactBatches::restore() {
    if (!changed_.node) return;
    changed_.node->src[1] = changed_.rows;
    join_rows(*changed_.node);
    changed_ = {};
}

}  // namespace coder_lsp
