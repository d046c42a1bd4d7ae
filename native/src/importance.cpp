#include "importance.h"

#include <ggml.h>

#include <algorithm>
#include <cstring>
#include <string_view>

namespace coder_lsp {
namespace {

constexpr std::size_t batch_tokens = 128;

struct Sum {
    std::vector<double> squares;
    std::size_t rows = 0;
};

using Sums = std::map<std::string, Sum>;

bool weight_product(const ggml_tensor* node) {
    return node->op == GGML_OP_MUL_MAT && std::string_view(node->src[0]->name).ends_with(".weight") &&
           node->src[1]->type == GGML_TYPE_F32 && node->src[1]->ne[2] == 1 && node->src[1]->ne[3] == 1;
}

void add(Sums& sums, const ggml_tensor* node, std::vector<float>& row) {
    const ggml_tensor* input = node->src[1];
    Sum& sum = sums[node->src[0]->name];
    const auto columns = static_cast<std::size_t>(input->ne[0]);
    sum.squares.resize(columns);
    row.resize(columns);
    for (std::int64_t i = 0; i < input->ne[1]; ++i) {
        ggml_backend_tensor_get(input, row.data(), static_cast<std::size_t>(i) * input->nb[1], columns * sizeof(float));
        for (std::size_t j = 0; j < columns; ++j) sum.squares[j] += static_cast<double>(row[j]) * row[j];
    }
    sum.rows += static_cast<std::size_t>(input->ne[1]);
}

struct Collector {
    Sums sums;
    std::vector<float> row;
};

}  // namespace

Importance collect_importance(const MeasuredModel& model, std::vector<Tokens> texts, const OnShare& on_share) {
    const LogTurn turn;
    model.check(texts);
    Collector collector;
    const ContextOwner context = model.context(
        texts, batch_tokens,
        // Asked before a node is evaluated whether it is of interest, and called again after it was.
        [](ggml_tensor* node, bool before, void* data) {
            if (before) return weight_product(node);
            auto& found = *static_cast<Collector*>(data);
            add(found.sums, node, found.row);
            return true;
        },
        &collector);
    for (std::size_t i = 0; i < texts.size(); ++i) {
        llama_memory_clear(llama_get_memory(context.get()), false);
        for (std::size_t done = 0; done < texts[i].size(); done += batch_tokens) {
            // All logits: the last layer and the output see every token, not only the last.
            evaluate(context.get(), texts[i], done, std::min(batch_tokens, texts[i].size() - done), true);
        }
        if (on_share) on_share(static_cast<double>(i + 1) / static_cast<double>(texts.size()));
    }
    Importance importance;
    for (const auto& [name, sum] : collector.sums) {
        std::vector<float>& mean = importance[name];
        const auto rows = static_cast<double>(sum.rows);
        for (const double square : sum.squares) mean.push_back(static_cast<float>(square / rows));
    }
    return importance;
}

}  // namespace coder_lsp
