#include "requantise_formats.h"

#include <gguf.h>
#include <ggml-cpp.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <fstream>
#include <mutex>
#include <thread>

#include "faults.h"
#include "gguf_file.h"

namespace coder_lsp {
namespace {

struct Located {
    Matrix matrix;
    ggml_type type;
    std::size_t offset;  // in the file
};

std::vector<Located> locate(const std::string& path) {
    inspect_gguf(path);  // the faults of a file that is none
    ggml_context* tensors = nullptr;
    const gguf_context_ptr gguf(gguf_init_from_file(path.c_str(), {true, &tensors}));
    const ggml_context_ptr owner(tensors);
    if (!gguf) throw Fault(FaultKind::corrupt, path + " cannot be read");
    std::vector<Located> found;
    for (std::int64_t id = 0; id < gguf_get_n_tensors(gguf.get()); ++id) {
        const ggml_tensor* tensor = ggml_get_tensor(tensors, gguf_get_tensor_name(gguf.get(), id));
        Located located{{tensor->name, ggml_type_name(tensor->type), {}, ggml_nbytes(tensor)},
                        tensor->type,
                        gguf_get_data_offset(gguf.get()) + gguf_get_tensor_offset(gguf.get(), id)};
        located.matrix.shape.assign(tensor->ne, tensor->ne + ggml_n_dims(tensor));
        found.push_back(std::move(located));
    }
    return found;
}

// Rows spread over the whole matrix, as floats.
std::vector<float> sample(std::ifstream& file, const Located& from, std::size_t rows) {
    const auto columns = static_cast<std::size_t>(from.matrix.shape[0]);
    const auto all = static_cast<std::size_t>(from.matrix.shape.size() > 1 ? from.matrix.shape[1] : 1);
    const std::size_t row = ggml_row_size(from.type, from.matrix.shape[0]);
    const std::size_t count = std::min(rows, all);
    std::vector<float> values(columns * count);
    std::vector<char> bytes(row);
    const ggml_to_float_t to_float = ggml_get_type_traits(from.type)->to_float;
    for (std::size_t i = 0; i < count; ++i) {
        file.seekg(static_cast<std::streamoff>(from.offset + i * all / count * row));
        if (!file.read(bytes.data(), static_cast<std::streamsize>(row))) {
            throw Fault(FaultKind::corrupt, from.matrix.name + " cannot be read from its file");
        }
        float* target = values.data() + i * columns;
        if (from.type == GGML_TYPE_F32) {
            std::copy_n(reinterpret_cast<const float*>(bytes.data()), columns, target);
        } else {
            to_float(bytes.data(), target, static_cast<std::int64_t>(columns));
        }
    }
    return values;
}

// Share of the weighed square of the values that the format does not give back.
double lost(const std::vector<float>& values, ggml_type type, std::int64_t columns,
            const std::vector<float>& importance) {
    const auto width = static_cast<std::size_t>(columns);
    const std::int64_t rows = static_cast<std::int64_t>(values.size() / width);
    std::vector<char> packed(ggml_row_size(type, columns) * static_cast<std::size_t>(rows));
    ggml_quantize_chunk(type, values.data(), packed.data(), 0, rows, columns, importance.data());
    std::vector<float> again(values.size());
    ggml_get_type_traits(type)->to_float(packed.data(), again.data(), static_cast<std::int64_t>(again.size()));
    double error = 0;
    double whole = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
        const double weight = importance[i % width];
        const double difference = static_cast<double>(values[i]) - again[i];
        error += weight * difference * difference;
        whole += weight * values[i] * values[i];
    }
    return whole > 0 ? error / whole : 0;
}

}  // namespace

ggml_type format_named(const std::string& name) {
    for (int type = 0; type < GGML_TYPE_COUNT; ++type) {
        const char* called = ggml_type_name(static_cast<ggml_type>(type));
        if (called && name == called) return static_cast<ggml_type>(type);
    }
    throw Fault(FaultKind::engine, "no format of weights is called " + name);
}

std::vector<Matrix> read_matrices(const std::string& path) {
    const LogTurn turn;
    std::vector<Matrix> matrices;
    for (Located& located : locate(path)) matrices.push_back(std::move(located.matrix));
    return matrices;
}

std::size_t row_bytes(const std::string& format, std::int64_t columns) {
    const ggml_type type = format_named(format);
    if (columns <= 0 || columns % ggml_blck_size(type) != 0) return 0;
    return ggml_row_size(type, columns);
}

Errors quantisation_errors(const std::string& path, const std::map<std::string, std::vector<std::string>>& formats,
                           const Importance& importance, std::size_t rows, std::int32_t threads) {
    const LogTurn turn;
    std::vector<Located> asked;
    for (Located& located : locate(path)) {
        const auto named = formats.find(located.matrix.name);
        if (named == formats.end()) continue;
        for (const std::string& format : named->second) row_bytes(format, located.matrix.shape[0]);
        if (located.type != GGML_TYPE_F32 && !ggml_get_type_traits(located.type)->to_float) {
            throw Fault(FaultKind::unsupported, located.matrix.name + " has a format that cannot be read back");
        }
        asked.push_back(std::move(located));
    }
    for (int type = 0; type < GGML_TYPE_COUNT; ++type) ggml_quantize_init(static_cast<ggml_type>(type));
    Errors errors;
    std::mutex mutex;
    std::exception_ptr thrown;
    std::atomic<bool> failed = false;
    std::atomic<std::size_t> next = 0;
    const auto work = [&] {
        try {
            std::ifstream file(path, std::ios::binary);
            for (std::size_t i = next++; i < asked.size() && !failed; i = next++) {
                const Matrix& matrix = asked[i].matrix;
                const auto columns = static_cast<std::size_t>(matrix.shape[0]);
                const std::vector<float> values = sample(file, asked[i], rows);
                const auto known = importance.find(matrix.name);
                const bool fits = known != importance.end() && known->second.size() == columns;
                const std::vector<float> weights = fits ? known->second : std::vector<float>(columns, 1.0f);
                for (const std::string& format : formats.at(matrix.name)) {
                    const double error = lost(values, format_named(format), matrix.shape[0], weights);
                    const std::lock_guard guard(mutex);
                    errors[{matrix.name, format}] = error;
                }
            }
        } catch (...) {
            const std::lock_guard guard(mutex);
            thrown = std::current_exception();
            failed = true;
        }
    };
    std::vector<std::thread> workers;
    for (std::int32_t i = 0; i < threads; ++i) workers.emplace_back(work);
    for (std::thread& worker : workers) worker.join();
    if (thrown) std::rethrow_exception(thrown);
    return errors;
}

}  // namespace coder_lsp
