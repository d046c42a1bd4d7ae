#include "loading.h"

#include <algorithm>
#include <exception>
#include <map>

#include "amx.h"
#include "batch_sizes.h"
#include "faults.h"
#include "log.h"

namespace coder_lsp {
namespace {

ggml_type cache_type(const std::string& name) {
    static const std::map<std::string, ggml_type> types = {
        {"f16", GGML_TYPE_F16}, {"q8_0", GGML_TYPE_Q8_0}, {"f32", GGML_TYPE_F32}};
    const auto found = types.find(name);
    if (found == types.end()) {
        throw Fault(FaultKind::engine, "unknown KV cache type \"" + name + "\"", "use f16, q8_0 or f32");
    }
    return found->second;
}

Fault load_fault(const std::string& path) {
    const std::string reason = recent_errors();
    const auto says = [&](const char* text) { return reason.find(text) != std::string::npos; };
    if (says("unknown model architecture") || says("unknown pre-tokenizer") || says("unknown tokenizer")) {
        return {FaultKind::unsupported, path + " cannot be run by this llama.cpp: " + reason,
                "choose another model, or a newer coder-lsp"};
    }
    if (says("failed to allocate") || says("unable to allocate") || says("bad_alloc") || says("Cannot allocate")) {
        return {FaultKind::out_of_memory, path + " does not fit into memory: " + reason,
                "choose a smaller model or a smaller context"};
    }
    return {FaultKind::corrupt, path + " cannot be loaded: " + (reason.empty() ? "no reason given" : reason),
            "verify the model, or pull it again"};
}

}  // namespace

std::shared_ptr<llama_model> load_model(const LoadOptions& options, const Progress& progress) {
    initialise_llama();
    if (options.sequences == 0 || options.sequences > llama_max_parallel_sequences() || options.slice_tokens == 0 ||
        options.context_tokens == 0 || options.threads < 1 || options.threads_batch < 1) {
        throw Fault(FaultKind::engine, "sequences, slice, context and threads must be positive");
    }
    cache_type(options.kv_type);  // refused before a gigabyte is read
    llama_model_params params = llama_model_default_params();
    params.n_gpu_layers = 0;
    params.load_mode = options.use_mmap ? LLAMA_LOAD_MODE_MMAP : LLAMA_LOAD_MODE_NONE;
    params.use_extra_bufts = options.repack && !compiled_for_amx();
    params.vocab_only = options.vocabulary_only;
    // Text is tokenised in pieces, in the middle of prompts: a space put before each piece would change it.
    llama_model_kv_override overrides[2] = {};
    overrides[0].tag = LLAMA_KV_OVERRIDE_TYPE_BOOL;
    std::copy_n("tokenizer.ggml.add_space_prefix", 32, overrides[0].key);
    overrides[0].val_bool = false;
    params.kv_overrides = overrides;

    // An exception must not pass through the C of llama.cpp: it is kept, loading given up, and thrown behind it.
    struct Report {
        const Progress& progress;
        std::exception_ptr thrown;
        bool refused = false;
    } report{progress, nullptr};
    if (progress) {
        params.progress_callback_user_data = &report;
        params.progress_callback = [](float fraction, void* data) {
            auto& state = *static_cast<Report*>(data);
            try {
                state.refused = !state.progress(fraction);
            } catch (...) {
                state.thrown = std::current_exception();
                state.refused = true;
            }
            return !state.refused;
        };
    }
    forget_errors();
    std::shared_ptr<llama_model> model(llama_model_load_from_file(options.path.c_str(), params),
                                       [](llama_model* loaded) {
                                           if (loaded) llama_model_free(loaded);
                                       });
    if (report.thrown) std::rethrow_exception(report.thrown);
    if (report.refused) throw Fault(FaultKind::engine, "loading " + options.path + " was given up");
    if (!model) throw load_fault(options.path);
    if (llama_model_has_encoder(model.get()) || !llama_model_has_decoder(model.get()) ||
        llama_model_is_diffusion(model.get())) {
        throw Fault(FaultKind::unsupported, options.path + " is not a decoder model: it cannot continue text",
                    "choose a code completion model");
    }
    return model;
}

std::shared_ptr<Vocabulary> load_vocabulary(const std::string& path) {
    LoadOptions options;
    options.path = path;
    options.vocabulary_only = true;
    // The vocabulary lives in the model: whoever holds the one keeps the other.
    struct Owner {
        std::shared_ptr<llama_model> model;
        Vocabulary vocabulary;
    };
    const std::shared_ptr<llama_model> model = load_model(options, {});
    const auto owner = std::make_shared<Owner>(Owner{model, Vocabulary(llama_model_get_vocab(model.get()), path)});
    return {owner, &owner->vocabulary};
}

ContextOwner make_context(llama_model* model, const LoadOptions& options, ggml_abort_callback abort, void* data,
                          ExactBatches& batches) {
    llama_context_params params = llama_context_default_params();
    params.type_k = params.type_v = cache_type(options.kv_type);
    params.n_ctx = options.context_tokens * options.sequences;
    params.n_seq_max = options.sequences;
    params.kv_unified = false;
    params.n_batch = params.n_ubatch = options.slice_tokens;
    // Guessed tokens need scores of their own; llama.cpp wants room for one a sequence besides.
    params.n_outputs_max_per_seq = BatchSizes::largest;
    params.n_outputs_max = std::max<std::uint32_t>(options.sequences, BatchSizes::largest);
    params.cb_eval = ExactBatches::on_node;
    params.cb_eval_user_data = &batches;
    params.n_threads = options.threads;
    params.n_threads_batch = options.threads_batch;
    const bool quantised = params.type_k == GGML_TYPE_Q8_0;
    params.flash_attn_type =
        options.flash_attention || quantised ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
    params.abort_callback = abort;
    params.abort_callback_data = data;
    params.no_perf = true;
    forget_errors();
    ContextOwner context(llama_init_from_model(model, params), llama_free);
    if (!context) throw load_fault(options.path);
    return context;
}

}  // namespace coder_lsp
