#include "requantise_speed.h"

#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <ggml-cpp.h>
#include <ggml-cpu.h>

#include <algorithm>
#include <chrono>
#include <ctime>

#include "amx.h"
#include "faults.h"
#include "requantise_formats.h"

namespace coder_lsp {
namespace {

using Clock = std::chrono::steady_clock;

// More than the caches of most processors hold: in a model, a matrix comes from memory each time.
constexpr std::size_t cold_bytes = 96u << 20;
constexpr std::size_t most_copies = 48;

double microseconds_since(Clock::time_point start) {
    return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

// Processor time of this thread.
double thread_microseconds() {
    timespec now = {};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
}

// Weights for some products, and the products, in the buffers they run in.
class Products {
  public:
    Products(ggml_backend_t backend, ggml_type type, std::int64_t columns, std::int64_t rows, std::int64_t batch,
             std::size_t copies)
        : backend_(backend), copies_(copies) {
        const std::size_t bytes = ggml_tensor_overhead() * (2 * copies + 2) + ggml_graph_overhead();
        const ggml_init_params room = {bytes, nullptr, true};
        weight_context_.reset(ggml_init(room));
        work_context_.reset(ggml_init(room));
        input_ = ggml_new_tensor_2d(work_context_.get(), GGML_TYPE_F32, columns, batch);
        graph_ = ggml_new_graph(work_context_.get());
        for (std::size_t i = 0; i < copies; ++i) {
            weights_.push_back(ggml_new_tensor_2d(weight_context_.get(), type, columns, rows));
            ggml_build_forward_expand(graph_, ggml_mul_mat(work_context_.get(), weights_.back(), input_));
        }
        const ggml_backend_buffer_type_t kind = best_buffer(ggml_graph_node(graph_, 0));
        repacked_ = kind != ggml_backend_cpu_buffer_type();
        weight_buffer_.reset(ggml_backend_alloc_ctx_tensors_from_buft(weight_context_.get(), kind));
        work_buffer_.reset(ggml_backend_alloc_ctx_tensors(work_context_.get(), backend));
        if (!weight_buffer_ || !work_buffer_) throw Fault(FaultKind::out_of_memory, "no memory for timing products");
        fill(type, columns, rows, batch);
    }

    bool repacked() const { return repacked_; }

    double run_us() {
        const double start = thread_microseconds();
        if (ggml_backend_graph_compute(backend_, graph_) != GGML_STATUS_SUCCESS) {
            throw Fault(FaultKind::engine, "ggml could not multiply");
        }
        return (thread_microseconds() - start) / static_cast<double>(copies_);
    }

  private:
    // The first of the CPU's own layouts that can do this product, as llama.cpp chooses when it loads a model.
    static ggml_backend_buffer_type_t best_buffer(ggml_tensor* product) {
        const ggml_backend_dev_t device = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
        const auto extra = reinterpret_cast<ggml_backend_dev_get_extra_bufts_t>(ggml_backend_reg_get_proc_address(
            ggml_backend_dev_backend_reg(device), "ggml_backend_dev_get_extra_bufts"));
        ggml_tensor* weight = product->src[0];
        if (compiled_for_amx()) return ggml_backend_cpu_buffer_type();
        for (ggml_backend_buffer_type_t* kind = extra ? extra(device) : nullptr; kind && *kind; ++kind) {
            const ggml_backend_buffer_ptr empty(ggml_backend_buft_alloc_buffer(*kind, 0));
            weight->buffer = empty.get();
            const bool good = ggml_backend_dev_supports_op(device, product);
            weight->buffer = nullptr;
            if (good) return *kind;
        }
        return ggml_backend_cpu_buffer_type();
    }

    void fill(ggml_type type, std::int64_t columns, std::int64_t rows, std::int64_t batch) {
        std::vector<float> values(static_cast<std::size_t>(columns));
        for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 17) / 8.0f - 1.0f;
        // One row, again and again: values make no difference, as long as they are numbers.
        std::vector<char> row(ggml_row_size(type, columns));
        ggml_quantize_chunk(type, values.data(), row.data(), 0, 1, columns, values.data());
        std::vector<char> matrix;
        for (std::int64_t i = 0; i < rows; ++i) matrix.insert(matrix.end(), row.begin(), row.end());
        for (ggml_tensor* weight : weights_) ggml_backend_tensor_set(weight, matrix.data(), 0, matrix.size());
        for (std::int64_t i = 0; i < batch; ++i) {
            ggml_backend_tensor_set(input_, values.data(), static_cast<std::size_t>(i) * input_->nb[1], input_->nb[1]);
        }
    }

    ggml_backend_t backend_;
    std::size_t copies_;
    ggml_context_ptr weight_context_;
    ggml_context_ptr work_context_;
    ggml_backend_buffer_ptr weight_buffer_;
    ggml_backend_buffer_ptr work_buffer_;
    std::vector<ggml_tensor*> weights_;
    ggml_tensor* input_ = nullptr;
    ggml_cgraph* graph_ = nullptr;
    bool repacked_ = false;
};

// The least of many: whatever else the machine does only adds to it.
double timed(Products& products, double seconds) {
    products.run_us();
    double least = products.run_us();
    const Clock::time_point start = Clock::now();
    while (microseconds_since(start) < seconds * 1e6) least = std::min(least, products.run_us());
    return least;
}

ContextOptions context_options(const RunOptions& options) {
    if (options.prefill_tokens == 0 || options.decode_tokens == 0) throw Fault(FaultKind::engine, "nothing to time");
    ContextOptions found;
    found.tokens = options.prefill_tokens + options.decode_tokens;
    found.batch = options.slice_tokens;
    found.threads = options.threads;
    found.threads_batch = options.threads_batch;
    found.kv_type = options.kv_type;
    found.flash_attention = options.flash_attention;
    return found;
}

}  // namespace

TimedModel::TimedModel(const std::string& path, const RunOptions& options)
    : TimedModel(load_for_measuring(path), options) {}

TimedModel::TimedModel(ModelOwner model, const RunOptions& options)
    : options_(options), model_(std::move(model)), context_(nullptr, llama_free) {
    const LogTurn turn;
    context_ = context_for_measuring(model_.get(), context_options(options));
}

TimedModel TimedModel::otherwise(const RunOptions& options) const {
    return {model_, options};
}

RunTimes TimedModel::run() {
    const LogTurn turn;
    const std::int32_t vocab_size = llama_vocab_n_tokens(llama_model_get_vocab(model_.get()));
    Tokens tokens;
    for (std::uint32_t i = 0; i < options_.prefill_tokens + options_.decode_tokens; ++i) {
        tokens.push_back(static_cast<llama_token>(7 * i + 11) % vocab_size);
    }
    llama_memory_clear(llama_get_memory(context_.get()), false);
    RunTimes times;
    const Clock::time_point start = Clock::now();
    for (std::size_t done = 0; done < options_.prefill_tokens; done += options_.slice_tokens) {
        const std::size_t count = std::min<std::size_t>(options_.slice_tokens, options_.prefill_tokens - done);
        evaluate(context_.get(), tokens, done, count, false);
    }
    times.prefill_ms = microseconds_since(start) / 1000;
    const Clock::time_point middle = Clock::now();
    for (std::size_t i = options_.prefill_tokens; i < tokens.size(); ++i) evaluate(context_.get(), tokens, i, 1, false);
    times.decode_ms = microseconds_since(middle) / 1000;
    return times;
}

ProductTimes time_product(const std::string& format, std::int64_t columns, std::int64_t rows, std::int64_t batch,
                          double seconds) {
    const LogTurn turn;
    const std::size_t bytes = row_bytes(format, columns) * static_cast<std::size_t>(std::max<std::int64_t>(rows, 0));
    if (bytes == 0 || batch < 1) throw Fault(FaultKind::engine, "no such product");
    const ggml_type type = format_named(format);
    const ggml_backend_ptr backend(ggml_backend_init_by_type(GGML_BACKEND_DEVICE_TYPE_CPU, nullptr));
    if (!backend) throw Fault(FaultKind::engine, "ggml has no CPU backend");
    ggml_backend_cpu_set_n_threads(backend.get(), 1);
    ProductTimes times;
    Products one(backend.get(), type, columns, rows, 1, std::clamp<std::size_t>(cold_bytes / bytes, 1, most_copies));
    times.repacked = one.repacked();
    times.one_us = timed(one, seconds);
    if (batch > 1) {
        // Many tokens use a weight often once it is there: where it came from hardly counts.
        Products many(backend.get(), type, columns, rows, batch, 2);
        times.batch_us = timed(many, seconds);
    }
    return times;
}

}  // namespace coder_lsp
