#include "requantise_model.h"

#include <algorithm>
#include <map>

#include "amx.h"
#include "faults.h"
#include "gguf_file.h"
#include "log.h"

namespace coder_lsp {
namespace {

struct Log {
    ggml_log_callback function = nullptr;
    void* data = nullptr;

    static Log current() {
        Log log;
        llama_log_get(&log.function, &log.data);
        return log;
    }
    void install() const { llama_log_set(function, data); }
};

// What llama.cpp logs to when nobody said otherwise: stderr.
const Log& default_log() {
    static const Log log = [] {
        const Log before = Log::current();
        llama_log_set(nullptr, nullptr);
        const Log found = Log::current();
        before.install();
        return found;
    }();
    return log;
}

const Log& our_log() {
    static const Log log = [] {
        initialise_llama();
        return Log::current();
    }();
    return log;
}

}  // namespace

LogTurn::LogTurn() {
    const Log before = Log::current();
    previous_ = before.function;
    previous_data_ = before.data;
    our_log().install();
    forget_errors();
}

LogTurn::~LogTurn() {
    if (previous_ != default_log().function) llama_log_set(previous_, previous_data_);
}

ModelOwner load_for_measuring(const std::string& path) {
    const LogTurn turn;
    inspect_gguf(path);
    llama_model_params params = llama_model_default_params();
    params.use_extra_bufts = !compiled_for_amx();
    params.n_gpu_layers = 0;
    params.load_mode = LLAMA_LOAD_MODE_MMAP;
    ModelOwner model(llama_model_load_from_file(path.c_str(), params), [](llama_model* loaded) {
        if (loaded) llama_model_free(loaded);
    });
    if (!model) {
        const std::string reason = recent_errors();
        const bool memory = reason.find("allocate") != std::string::npos;
        throw Fault(memory ? FaultKind::out_of_memory : FaultKind::unsupported, path + " cannot be loaded: " + reason);
    }
    return model;
}

ContextOwner context_for_measuring(llama_model* model, const ContextOptions& options) {
    const std::map<std::string, ggml_type> types = {
        {"f16", GGML_TYPE_F16}, {"q8_0", GGML_TYPE_Q8_0}, {"f32", GGML_TYPE_F32}};
    const auto type = types.find(options.kv_type);
    if (type == types.end() || options.tokens == 0 || options.batch == 0 || options.threads < 1 ||
        options.threads_batch < 1) {
        throw Fault(FaultKind::engine, "nothing can be measured with these options");
    }
    llama_context_params params = llama_context_default_params();
    params.type_k = params.type_v = type->second;
    params.n_ctx = options.tokens;
    params.n_batch = params.n_ubatch = options.batch;
    params.n_outputs_max = params.n_outputs_max_per_seq = options.all_logits ? options.batch : 1;
    params.n_threads = options.threads;
    params.n_threads_batch = options.threads_batch;
    params.flash_attn_type = options.flash_attention ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
    params.cb_eval = options.on_node;
    params.cb_eval_user_data = options.data;
    params.no_perf = true;
    ContextOwner context(llama_init_from_model(model, params), llama_free);
    if (!context) throw Fault(FaultKind::engine, "llama.cpp cannot run the model like this: " + recent_errors());
    return context;
}

MeasuredModel::MeasuredModel(const std::string& path, std::int32_t threads)
    : model_(load_for_measuring(path)), threads_(threads) {}

std::int32_t MeasuredModel::vocab_size() const {
    return llama_vocab_n_tokens(llama_model_get_vocab(model_.get()));
}

ContextOwner MeasuredModel::context(const std::vector<Tokens>& texts, std::uint32_t batch,
                                    ggml_backend_sched_eval_callback on_node, void* data) const {
    ContextOptions options;
    for (const Tokens& text : texts) options.tokens = std::max(options.tokens, static_cast<std::uint32_t>(text.size()));
    options.batch = batch;
    options.all_logits = true;
    options.threads = options.threads_batch = threads_;
    options.on_node = on_node;
    options.data = data;
    return context_for_measuring(model_.get(), options);
}

void MeasuredModel::check(const std::vector<Tokens>& texts) const {
    const std::int32_t size = vocab_size();
    const auto good = [size](llama_token token) { return token >= 0 && token < size; };
    for (const Tokens& text : texts) {
        if (text.empty() || !std::all_of(text.begin(), text.end(), good)) {
            throw Fault(FaultKind::engine, "a text to measure with is empty or has tokens of another vocabulary");
        }
    }
}

void evaluate(llama_context* context, Tokens& tokens, std::size_t first, std::size_t count, bool all_logits) {
    std::vector<std::int8_t> wanted(count, all_logits ? 1 : 0);
    wanted.back() = 1;
    llama_batch batch = llama_batch_get_one(tokens.data() + first, static_cast<std::int32_t>(count));
    batch.logits = wanted.data();
    if (llama_decode(context, batch) != 0) {
        throw Fault(FaultKind::engine, "llama.cpp could not evaluate a text: " + recent_errors());
    }
}

}  // namespace coder_lsp
