// Python's view of the index and of the choice of passages: converts values and releases the GIL around everything that
// takes long. No logic lives here. Strings cross as UTF-8 with lone surrogates kept, so that no string of Python is
// refused.

#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "bm25.h"
#include "packed_terms.h"
#include "passages.h"
#include "terms.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace coder_lsp {
namespace {

std::string_view view(const nb::bytes& bytes) {
    return {bytes.c_str(), bytes.size()};
}

nb::bytes as_bytes(std::string_view text) {
    return nb::bytes(text.data(), text.size());
}

std::string utf8(const nb::handle& text) {
    Py_ssize_t size = 0;
    if (const char* data = PyUnicode_AsUTF8AndSize(text.ptr(), &size)) return {data, static_cast<std::size_t>(size)};
    PyErr_Clear();
    const auto encoded = nb::steal<nb::object>(PyUnicode_AsEncodedString(text.ptr(), "utf-8", "surrogatepass"));
    if (!encoded.is_valid()) throw nb::python_error();
    return std::string(view(nb::borrow<nb::bytes>(encoded)));
}

nb::str as_str(std::string_view text) {
    const auto size = static_cast<Py_ssize_t>(text.size());
    auto decoded = nb::steal<nb::str>(PyUnicode_DecodeUTF8(text.data(), size, "surrogatepass"));
    if (!decoded.is_valid()) throw nb::python_error();
    return decoded;
}

using Strings = nb::typed<nb::sequence, nb::str>;

std::vector<std::string> utf8_of_all(const nb::handle& texts) {
    std::vector<std::string> all;
    for (const nb::handle text : texts) {
        if (!PyUnicode_Check(text.ptr())) throw nb::type_error("strings are expected");
        all.push_back(utf8(text));
    }
    return all;
}

nb::typed<nb::list, nb::str> tokenize(const nb::str& text) {
    nb::list terms;
    for_each_term(utf8(text), [&](std::string_view term) { terms.append(as_str(term)); });
    return terms;
}

nb::bytes pack(const Strings& texts) {
    const std::vector<std::string> chunks = utf8_of_all(texts);
    std::string packed;
    {
        const nb::gil_scoped_release no_gil;
        TermPacker packer;
        for (const std::string& chunk : chunks) {
            packer.next_chunk();
            for_each_term(chunk, [&](std::string_view term) { packer.add(term); });
        }
        packed = packer.finish();
    }
    return as_bytes(packed);
}

nb::bytes pack_tokens(const nb::typed<nb::sequence, Strings>& documents) {
    TermPacker packer;
    for (const nb::handle document : documents) {
        packer.next_chunk();
        for (const std::string& term : utf8_of_all(document)) packer.add(term);
    }
    return as_bytes(packer.finish());
}

nb::typed<nb::list, nb::typed<nb::dict, nb::str, int>> unpack(const nb::bytes& packed) {
    UnpackedTerms unpacked;
    unpack_terms(view(packed), unpacked);
    std::vector<nb::dict> chunks(unpacked.lengths.size());
    for (const UnpackedTerms::Term& term : unpacked.terms) {
        const nb::str text = as_str(term.text);
        for (const ChunkCount& entry : unpacked.counts_of(term)) chunks[entry.chunk][text] = entry.count;
    }
    nb::list result;
    for (nb::dict& chunk : chunks) result.append(chunk);
    return result;
}

void set_files(Bm25Index& index, const std::vector<std::pair<FileId, nb::bytes>>& files) {
    std::vector<std::pair<FileId, std::string_view>> views;
    for (const auto& [file, packed] : files) views.emplace_back(file, view(packed));
    const nb::gil_scoped_release no_gil;
    index.set_files(views);
}

using Found = std::vector<std::tuple<FileId, std::uint32_t, double>>;

Found search(const Bm25Index& index, const Strings& query, std::size_t k, std::optional<std::vector<double>> weights,
             std::vector<FileId> exclude, bool exhaustive) {
    Bm25Query asked{utf8_of_all(query), {}, k, std::move(exclude), exhaustive};
    if (weights) {
        if (weights->size() != asked.terms.size()) {
            throw std::invalid_argument(std::to_string(weights->size()) + " weights for " +
                                        std::to_string(asked.terms.size()) + " terms");
        }
        asked.weights = std::move(*weights);
    }
    const nb::gil_scoped_release no_gil;
    Found found;
    for (const Hit& hit : index.search(asked)) found.emplace_back(hit.file, hit.chunk, hit.score);
    return found;
}

using GivenLines = std::tuple<Strings, std::vector<std::int64_t>, std::vector<double>, std::vector<double>>;
using Passages = std::vector<std::tuple<std::size_t, std::vector<std::int64_t>, double>>;

Passages choose(std::vector<GivenLines> files, const nb::str& known, double budget, double share, double least) {
    const std::string known_text = utf8(known);
    std::vector<CandidateLines> candidates;
    for (auto& [texts, numbers, weights, costs] : files) {
        candidates.push_back({utf8_of_all(texts), std::move(numbers), std::move(weights), std::move(costs)});
    }
    const nb::gil_scoped_release no_gil;
    Passages chosen;
    for (ChosenPassage& passage : choose_passages(candidates, known_text, {budget, share, least})) {
        chosen.emplace_back(passage.file, std::move(passage.lines), passage.worth);
    }
    return chosen;
}

}  // namespace
}  // namespace coder_lsp

NB_MODULE(_bm25, m) {
    using namespace coder_lsp;
    m.doc() = "The BM25 index and the choice of passages in C++; use coder_lsp.retrieval.bm25 and passages.";

    m.def("tokenize", &tokenize, "text"_a);
    m.def("pack", &pack, "texts"_a);
    m.def("pack_tokens", &pack_tokens, "documents"_a);
    m.def("unpack", &unpack, "packed"_a);
    m.def("choose_passages", &choose, "files"_a, "known"_a, "budget"_a, "share"_a, "least"_a);

    nb::class_<Bm25Index>(m, "Bm25Index")
        .def(
            "__init__",
            [](Bm25Index* self, double k1, double b, double epsilon) {
                new (self) Bm25Index(Bm25Options{k1, b, epsilon});
            },
            "k1"_a, "b"_a, "epsilon"_a)
        .def("set_files", &set_files, "files"_a)
        .def("remove_file", &Bm25Index::remove_file, "file"_a, nb::call_guard<nb::gil_scoped_release>())
        .def("search", &search, "query"_a, "k"_a, "weights"_a.none(), "exclude"_a, "exhaustive"_a)
        .def_prop_ro("files", &Bm25Index::files)
        .def_prop_ro("documents", &Bm25Index::documents)
        .def_prop_ro("terms", &Bm25Index::terms)
        .def_prop_ro("memory_bytes", &Bm25Index::memory_bytes);
}
