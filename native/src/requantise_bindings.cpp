// Python's view of measuring and rewriting weights: converts values, releases the GIL around everything that takes
// long, and turns faults into the classes of coder_lsp.errors. No logic lives here.

#include <nanobind/nanobind.h>
#include <nanobind/stl/function.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <optional>

#include "memory_speed.h"
#include "python_faults.h"
#include "requantise.h"
#include "requantise_formats.h"
#include "requantise_harm.h"
#include "requantise_speed.h"

namespace nb = nanobind;
using namespace nb::literals;

NB_MAKE_OPAQUE(coder_lsp::Predictions)  // stays in C++: thousands of distributions

namespace coder_lsp {
namespace {

// Tokens need not be UTF-8.
nb::typed<nb::list, nb::bytes> as_bytes(const std::vector<std::string>& texts) {
    nb::list all;
    for (const std::string& text : texts) all.append(nb::bytes(text.data(), text.size()));
    return nb::borrow<nb::typed<nb::list, nb::bytes>>(all);
}

using OnProgress = nb::typed<nb::callable, void(float)>;

// A Python callable that may raise; so may the user, with Ctrl-C.
OnShare as_share(const std::optional<OnProgress>& progress) {
    return [function = progress](double share) {
        const nb::gil_scoped_acquire gil;
        if (PyErr_CheckSignals() != 0) throw nb::python_error();
        if (function) (*function)(share);
    };
}

template <typename Function>
auto without_gil(const std::optional<OnProgress>& progress, Function function) {
    const OnShare on_share = as_share(progress);  // destroyed under the GIL
    const nb::gil_scoped_release no_gil;
    return function(on_share);
}

Importance importance(const MeasuredModel& model, std::vector<Tokens> texts,
                      const std::optional<OnProgress>& progress) {
    return without_gil(progress,
                       [&](const OnShare& share) { return collect_importance(model, std::move(texts), share); });
}

Predictions predictions(const MeasuredModel& model, std::vector<Tokens> texts, std::size_t skip,
                        const std::optional<OnProgress>& progress) {
    return without_gil(progress, [&](const OnShare& share) { return predict(model, std::move(texts), skip, share); });
}

Harm harm(const MeasuredModel& model, std::vector<Tokens> texts, std::size_t skip, const Predictions& reference,
          const std::optional<OnProgress>& progress) {
    return without_gil(progress,
                       [&](const OnShare& share) { return compare(model, std::move(texts), skip, reference, share); });
}

}  // namespace
}  // namespace coder_lsp

NB_MODULE(_requantise, m) {
    using namespace coder_lsp;
    m.doc() = "Measuring and rewriting weights in C++; use coder_lsp.optimise, which checks versions first.";
    nb::register_exception_translator(translate_fault);
    using NoGil = nb::call_guard<nb::gil_scoped_release>;

    nb::class_<Matrix>(m, "Matrix")
        .def_ro("name", &Matrix::name)
        .def_ro("format", &Matrix::format)
        .def_ro("shape", &Matrix::shape)
        .def_ro("bytes", &Matrix::bytes);
    m.def("read_matrices", &read_matrices, "path"_a, NoGil());
    m.def("row_bytes", &row_bytes, "name"_a, "columns"_a);
    m.def("quantisation_errors", &quantisation_errors, "path"_a, "formats"_a, "importance"_a, "rows"_a, "threads"_a,
          NoGil());

    nb::class_<MeasuredModel>(m, "MeasuredModel")
        .def(nb::init<const std::string&, std::int32_t>(), "path"_a, "threads"_a, NoGil())
        .def_prop_ro("vocab_size", &MeasuredModel::vocab_size);
    m.def("collect_importance", &importance, "model"_a, "texts"_a, "progress"_a = nb::none());
    nb::class_<Predictions>(m, "Predictions").def("__len__", [](const Predictions& all) { return all.size(); });
    nb::class_<Harm>(m, "Harm")
        .def_ro("places", &Harm::places)
        .def_ro("divergence", &Harm::divergence)
        .def_ro("agreement", &Harm::agreement)
        .def_ro("loss", &Harm::loss)
        .def_ro("reference_loss", &Harm::reference_loss);
    m.def("predict", &predictions, "model"_a, "texts"_a, "skip"_a, "progress"_a = nb::none());
    m.def("compare", &harm, "model"_a, "texts"_a, "skip"_a, "reference"_a, "progress"_a = nb::none());

    nb::class_<RunOptions>(m, "RunOptions")
        .def(nb::init<>())
        .def_rw("prefill_tokens", &RunOptions::prefill_tokens)
        .def_rw("decode_tokens", &RunOptions::decode_tokens)
        .def_rw("threads", &RunOptions::threads)
        .def_rw("threads_batch", &RunOptions::threads_batch)
        .def_rw("kv_type", &RunOptions::kv_type)
        .def_rw("flash_attention", &RunOptions::flash_attention)
        .def_rw("slice_tokens", &RunOptions::slice_tokens);
    nb::class_<RunTimes>(m, "RunTimes")
        .def_ro("prefill_ms", &RunTimes::prefill_ms)
        .def_ro("decode_ms", &RunTimes::decode_ms);
    nb::class_<TimedModel>(m, "TimedModel")
        .def(nb::init<const std::string&, const RunOptions&>(), "path"_a, "options"_a, NoGil())
        .def("otherwise", &TimedModel::otherwise, "options"_a, NoGil())
        .def("run", &TimedModel::run, NoGil());
    nb::class_<ProductTimes>(m, "ProductTimes")
        .def_ro("repacked", &ProductTimes::repacked)
        .def_ro("one_us", &ProductTimes::one_us)
        .def_ro("batch_us", &ProductTimes::batch_us);
    m.def("read_bandwidth", &read_bandwidth, "size"_a, "threads"_a, "seconds"_a, NoGil());
    m.def("time_product", &time_product, "name"_a, "columns"_a, "rows"_a, "batch"_a, "seconds"_a, NoGil());

    nb::class_<Requantisation>(m, "Requantisation")
        .def(nb::init<>())
        .def_rw("source", &Requantisation::source)
        .def_rw("target", &Requantisation::target)
        .def_rw("formats", &Requantisation::formats)
        .def_rw("importance", &Requantisation::importance)
        .def_rw("threads", &Requantisation::threads);
    m.def("requantise", &requantise, "job"_a, NoGil());
    nb::class_<VocabularyTable>(m, "VocabularyTable")
        .def_ro("model", &VocabularyTable::model)
        .def_prop_ro("tokens", [](const VocabularyTable& table) { return as_bytes(table.tokens); })
        .def_ro("types", &VocabularyTable::types)
        .def_prop_ro("merges", [](const VocabularyTable& table) { return as_bytes(table.merges); });
    m.def("read_vocabulary", &read_vocabulary, "path"_a, NoGil());
    m.def("copy_model", &copy_model, "source"_a, "target"_a, "kept"_a, "facts"_a, NoGil());
}
