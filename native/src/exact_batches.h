// Makes each token of a small batch get the scores it would get alone, to the last bit.
//
// llama.cpp computes one token and several by different kernels that add in different orders. A sum that differs in its
// last bit rounds one activation to the next step of eight bits, and 24 layers on, scores differ by 0.3 to 0.7: any
// close decision may fall the other way (measured, 0.5B Q4_K_M). What differs is little, and is taken out of the graph
// between its construction and its evaluation:
//
// - Flash attention splits the cache among the threads for a single token, from 512 cells on, and not for several. A
//   single token is therefore evaluated as if the halves of its heads were separate streams, which are not split.
// - Products with weights in k-quants and floats use other kernels from two, four or eight rows on. In a batch that
// must
//   be exact these take its rows one by one. The quantisations by blocks of 32 (Q4_0, Q5_0, Q8_0, IQ4_NL) give the same
//   for any number of rows, and hold most of the weights of a small model.
//
// This is what was found with the llama.cpp that is compiled against; whether it is all is not assumed but looked at in
// each session (batch_sizes.h).

#pragma once

#include <ggml.h>

#include <cstddef>
#include <vector>

namespace coder_lsp {

class ExactBatches {
  public:
    // For llama_context_params::cb_eval, with this object as its data.
    static bool on_node(ggml_tensor* node, bool before, void* self);

    // Whether the batches that follow must be exact; else only single tokens are changed.
    void require(bool exact) { exact_ = exact; }

    // Puts back what an interrupted evaluation left changed. To be called after each evaluation.
    void restore();

  private:
    // A product whose rows are taken one by one while it is evaluated.
    struct RowByRow {
        ggml_tensor* node = nullptr;
        ggml_tensor* rows = nullptr;  // its second operand
        ggml_tensor reshaped{};       // what stands for it
    };
    bool begin(ggml_tensor* node);

    bool exact_ = false;
    RowByRow changed_;
};

}  // namespace coder_lsp
