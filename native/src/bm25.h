// An inverted index over the chunks of files that answers BM25 exactly as rank_bm25.BM25Okapi 0.2.2 would over the same
// chunks, and stays exact while files come, change and go. Knows no Python.
//
// A chunk has a slot; the chunks of a file have consecutive ones. A change rewrites the file's entries in the postings
// of its own terms and nothing else, so document frequencies are simply the lengths of postings. What depends on the
// whole corpus (average length, average idf) is computed again by the first search after a change, in time that grows
// with the number of different lengths and frequencies, not with terms or chunks.
//
// Any number of searches run at once, under a shared lock; a change takes the lock alone, for some files at a time.
// Both pass a gate first, where a change that waits holds up the searches that come after it: neither starves the
// other.

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <shared_mutex>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "packed_terms.h"
#include "slot_ranges.h"
#include "term_table.h"

namespace coder_lsp {

using FileId = std::int64_t;

struct Bm25Options {
    double k1 = 1.5;
    double b = 0.75;
    double epsilon = 0.25;  // of the average idf: what terms in more than half of all chunks get instead of theirs
};

struct Bm25Query {
    std::vector<std::string> terms;  // repeated ones count repeatedly
    std::vector<double> weights;     // one a term, or none: all 1
    std::size_t count = 0;           // hits wanted
    std::vector<FileId> exclude;     // left out of the hits, not of the statistics
    bool exhaustive = false;         // score every chunk fully: the same hits, slower; for tests
};

struct Hit {
    FileId file;
    std::uint32_t chunk;
    double score;  // above 0
};

class Bm25Index {
  public:
    explicit Bm25Index(const Bm25Options& options);  // throws std::invalid_argument

    // Put files in, or in place of what they were. Throws DamagedTerms before anything is changed.
    void set_files(std::span<const std::pair<FileId, std::string_view>> packed_files);
    void remove_file(FileId file);  // nothing if it is not there

    // By descending score, then file, then chunk. Throws std::invalid_argument.
    std::vector<Hit> search(const Bm25Query& query) const;

    std::size_t files() const;
    std::size_t documents() const;
    std::size_t terms() const;
    std::size_t memory_bytes() const;

  private:
    struct LargeCount {
        std::uint32_t term;
        std::uint32_t slot;
        std::uint32_t count;
    };
    struct File {
        std::uint32_t first = 0;  // slot
        std::uint32_t chunks = 0;
        std::vector<std::uint32_t> terms;
        std::vector<LargeCount> large;  // the counts that do not fit into a posting; ascending
    };
    struct Prepared {  // what can be known of a file without the lock
        UnpackedTerms unpacked;
        std::vector<std::uint32_t> hashes;
    };
    struct Statistics {
        double average_length = 0.0;
        double average_idf = 0.0;
        std::vector<double> parts;  // by count and length: what a term's idf is multiplied with
    };
    struct QueryTerm;
    class Best;
    class Walk;

    std::shared_lock<std::shared_mutex> share() const;
    std::unique_lock<std::shared_mutex> alone();

    void put(FileId id, const Prepared& prepared);
    void take_out(File& file);
    void replace(std::uint32_t term, std::uint32_t first, std::uint32_t last, std::span<const Posting> run);

    const Statistics& statistics() const;
    double idf(std::uint32_t frequency) const;
    double part(std::uint32_t count, std::uint32_t length, double average_length) const;
    double slow_part(std::uint32_t term, Posting posting) const;
    double fast_part(std::uint32_t term, Posting posting) const;
    std::vector<QueryTerm> plan(const Bm25Query& query) const;

    const Bm25Options options_;

    mutable std::mutex gate_;         // held to wait for lock_, not while holding it
    mutable std::shared_mutex lock_;  // over everything below
    TermTable table_;
    SlotRanges ranges_;
    std::vector<std::uint32_t> lengths_;  // of the chunk in each slot
    std::vector<FileId> owners_;          // the file of each slot
    std::unordered_map<FileId, File> files_;
    std::vector<std::uint32_t> frequencies_;  // how many terms are in so many chunks
    std::size_t documents_ = 0;
    std::uint64_t total_length_ = 0;
    std::size_t postings_bytes_ = 0;
    std::size_t file_bytes_ = 0;

    // Readers share the lock, so the first one after a change needs another one to compute these.
    mutable std::mutex statistics_lock_;
    mutable std::atomic<bool> stale_{true};
    mutable Statistics statistics_;
};

}  // namespace coder_lsp
