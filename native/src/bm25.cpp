#include "bm25.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>
#include <tuple>

namespace coder_lsp {
namespace {

// Scores of this many slots are added up at a time: 64 kB, which stay in the first caches.
constexpr std::uint32_t window_slots = 8192;

// Chunks of fewer terms have their part of the score in a table.
constexpr std::uint32_t table_lengths = 1024;

// Bounds are compared with scores that were added up in another order: rounding must not cost a hit.
constexpr double rounding = 1 + 1e-9;

// Last terms are looked up, not added up, once they cannot add this share of what the worst hit has. Looking up costs
// more for a chunk than adding up: a share of 1 would be as exact, but leaves too many chunks to look up.
constexpr double worth_looking_up = 0.4;

// Files that change hands under one lock, which searches wait for: a millisecond or so.
constexpr std::size_t batch_files = 4;

}  // namespace

// A term of the query on its way through its postings.
struct Bm25Index::QueryTerm {
    std::uint32_t term;
    double weight;  // idf included
    const Posting* at;
    const Posting* end;
    double rest;  // the most that this term and all behind it can add to a score
};

// The best hits so far, the worst of them on top.
class Bm25Index::Best {
  public:
    struct Entry {
        double score;
        FileId file;
        std::uint32_t slot;  // chunks of one file are in the order of their slots
    };

    Best(std::size_t count, std::size_t documents) : count_(count) { entries_.reserve(std::min(count, documents)); }

    // Scores below this are no hits any more.
    double threshold() const { return entries_.size() < count_ ? 0.0 : entries_.front().score; }

    void offer(const Entry& entry) {
        if (entries_.size() == count_) {
            if (!better(entry, entries_.front())) return;
            std::pop_heap(entries_.begin(), entries_.end(), better);
            entries_.back() = entry;
        } else {
            entries_.push_back(entry);
        }
        std::push_heap(entries_.begin(), entries_.end(), better);
    }

    std::vector<Entry> finish() {
        std::sort_heap(entries_.begin(), entries_.end(), better);
        return std::move(entries_);
    }

  private:
    static bool better(const Entry& one, const Entry& other) {
        return std::tuple(-one.score, one.file, one.slot) < std::tuple(-other.score, other.file, other.slot);
    }

    std::size_t count_;
    std::vector<Entry> entries_;
};

// One query on its way through the index: MaxScore, a window of slots at a time. As soon as the last terms of the plan
// together could not lift a chunk into the hits, only chunks that have one of the first terms are looked at, and of
// these only those that may still get there are looked up in the postings of the last ones. Either way the terms are
// added in the order of the plan, so a score has the same bits however it was found.
class Bm25Index::Walk {
  public:
    Walk(const Bm25Index& index, std::vector<QueryTerm>& terms, const std::vector<FileId>& exclude, Best& best)
        : index_(index), terms_(terms), exclude_(exclude), best_(best), first_terms_(terms.size()) {
        scores_.resize(window_slots);
    }

    void run(bool exhaustive) {
        for (std::uint32_t base = next_window(); base != most_slots; base = next_window()) {
            add_up(base);
            collect(base);
            if (!exhaustive) spare_last_terms();
        }
    }

  private:
    // The window that has the next chunk with one of the first terms, or `most_slots`.
    std::uint32_t next_window() const {
        std::uint32_t next = most_slots;
        for (std::size_t i = 0; i < first_terms_; ++i) {
            if (terms_[i].at != terms_[i].end) next = std::min(next, slot_of(*terms_[i].at));
        }
        return next - next % window_slots;
    }

    void add_up(std::uint32_t base) {
        std::fill(scores_.begin(), scores_.end(), 0.0);
        const Posting last = (base + window_slots - 1) << count_bits | largest_inline_count;
        for (std::size_t i = 0; i < first_terms_; ++i) {
            QueryTerm& term = terms_[i];
            for (; term.at != term.end && *term.at <= last; ++term.at) {
                scores_[slot_of(*term.at) - base] += term.weight * index_.fast_part(term.term, *term.at);
            }
        }
    }

    void collect(std::uint32_t base) {
        // No hit has less from the first terms alone.
        const double rest = first_terms_ < terms_.size() ? terms_[first_terms_].rest : 0.0;
        double least = std::max(0.0, best_.threshold() / rounding - rest);
        for (std::uint32_t i = 0; i < window_slots; ++i) {
            if (scores_[i] <= least) continue;
            const std::uint32_t slot = base + i;
            const double score = complete(slot, scores_[i]);
            if (score <= 0.0 || score < best_.threshold()) continue;
            const FileId owner = index_.owners_[slot];
            if (std::binary_search(exclude_.begin(), exclude_.end(), owner)) continue;
            best_.offer({score, owner, slot});
            least = std::max(0.0, best_.threshold() / rounding - rest);
        }
    }

    // The score with what the last terms add, or 0 if they cannot add enough.
    double complete(std::uint32_t slot, double score) {
        for (std::size_t i = first_terms_; i < terms_.size(); ++i) {
            QueryTerm& term = terms_[i];
            if ((score + term.rest) * rounding < best_.threshold()) return 0.0;
            term.at = skip_to(term.at, term.end, slot << count_bits);
            if (term.at != term.end && slot_of(*term.at) == slot) {
                score += term.weight * index_.fast_part(term.term, *term.at);
            }
        }
        return score;
    }

    void spare_last_terms() {
        const double spare = worth_looking_up * best_.threshold();
        while (first_terms_ > 0 && terms_[first_terms_ - 1].rest * rounding < spare) --first_terms_;
    }

    const Bm25Index& index_;
    std::vector<QueryTerm>& terms_;
    const std::vector<FileId>& exclude_;
    Best& best_;
    std::size_t first_terms_;
    std::vector<double> scores_;  // of the chunks in the window, from the first terms
};

Bm25Index::Bm25Index(const Bm25Options& options) : options_(options) {
    if (!(options.k1 >= 0) || !std::isfinite(options.k1)) throw std::invalid_argument("k1 must be 0 or more");
    if (!(options.b >= 0 && options.b <= 1)) throw std::invalid_argument("b must lie between 0 and 1");
    if (!(options.epsilon >= 0) || !std::isfinite(options.epsilon)) {
        throw std::invalid_argument("epsilon must be 0 or more");
    }
}

void Bm25Index::set_files(std::span<const std::pair<FileId, std::string_view>> packed_files) {
    std::array<Prepared, batch_files> batch;
    // All or nothing: one damaged file among many is found before the first one is put in.
    if (packed_files.size() > batch_files) {
        for (const auto& file : packed_files) unpack_terms(file.second, batch.front().unpacked);
    }
    while (!packed_files.empty()) {
        const auto now = packed_files.first(std::min(batch_files, packed_files.size()));
        for (std::size_t i = 0; i < now.size(); ++i) {
            Prepared& file = batch[i];
            unpack_terms(now[i].second, file.unpacked);
            file.hashes.clear();
            for (const UnpackedTerms::Term& term : file.unpacked.terms) file.hashes.push_back(hash_term(term.text));
        }
        {
            const auto held = alone();
            stale_.store(true, std::memory_order_relaxed);
            for (std::size_t i = 0; i < now.size(); ++i) put(now[i].first, batch[i]);
        }
        packed_files = packed_files.subspan(now.size());
    }
}

void Bm25Index::remove_file(FileId id) {
    const auto held = alone();
    const auto found = files_.find(id);
    if (found == files_.end()) return;
    stale_.store(true, std::memory_order_relaxed);
    take_out(found->second);
    files_.erase(found);
}

std::vector<Hit> Bm25Index::search(const Bm25Query& query) const {
    if (!query.weights.empty() && query.weights.size() != query.terms.size()) {
        throw std::invalid_argument("a query needs one weight a term, or none");
    }
    for (const double weight : query.weights) {
        if (!(weight >= 0) || !std::isfinite(weight)) throw std::invalid_argument("weights must be 0 or more");
    }
    std::vector<FileId> exclude = query.exclude;
    std::sort(exclude.begin(), exclude.end());

    const auto held = share();
    std::vector<QueryTerm> terms = plan(query);
    if (query.count == 0 || terms.empty()) return {};
    Best best(query.count, documents_);
    Walk(*this, terms, exclude, best).run(query.exhaustive);

    std::vector<Hit> hits;
    for (const Best::Entry& entry : best.finish()) {
        hits.push_back({entry.file, entry.slot - files_.at(entry.file).first, entry.score});
    }
    return hits;
}

std::size_t Bm25Index::files() const {
    const auto held = share();
    return files_.size();
}

std::size_t Bm25Index::documents() const {
    const auto held = share();
    return documents_;
}

std::size_t Bm25Index::terms() const {
    const auto held = share();
    return table_.size();
}

std::size_t Bm25Index::memory_bytes() const {
    const auto held = share();
    constexpr std::size_t node_bytes = sizeof(std::pair<const FileId, File>) + 3 * sizeof(void*);
    return sizeof(*this) + table_.memory_bytes() + ranges_.memory_bytes() + postings_bytes_ + file_bytes_ +
           lengths_.capacity() * sizeof(std::uint32_t) + owners_.capacity() * sizeof(FileId) +
           frequencies_.capacity() * sizeof(std::uint32_t) + files_.size() * node_bytes +
           files_.bucket_count() * sizeof(void*) + table_lengths * (largest_inline_count + 1) * sizeof(double);
}

std::shared_lock<std::shared_mutex> Bm25Index::share() const {
    const std::lock_guard turn(gate_);
    return std::shared_lock(lock_);
}

std::unique_lock<std::shared_mutex> Bm25Index::alone() {
    const std::lock_guard turn(gate_);
    return std::unique_lock(lock_);
}

void Bm25Index::put(FileId id, const Prepared& prepared) {
    const UnpackedTerms& unpacked = prepared.unpacked;
    const auto chunks = static_cast<std::uint32_t>(unpacked.lengths.size());
    File& file = files_[id];
    if (chunks > file.chunks) {
        // Its slots do not suffice: it moves.
        const std::uint32_t first = ranges_.take(chunks);
        take_out(file);
        file.first = first;
        file.chunks = chunks;
        if (lengths_.size() < ranges_.end()) {
            lengths_.resize(ranges_.end());
            owners_.resize(ranges_.end());
        }
        documents_ += chunks;
    } else {
        for (std::uint32_t i = 0; i < file.chunks; ++i) total_length_ -= lengths_[file.first + i];
    }
    const std::uint32_t end = file.first + file.chunks;

    std::vector<std::uint32_t> old_terms = std::move(file.terms);
    file_bytes_ -= old_terms.capacity() * sizeof(std::uint32_t) + file.large.capacity() * sizeof(LargeCount);
    file.large.clear();
    file.terms.clear();
    file.terms.reserve(unpacked.terms.size());
    std::vector<Posting> run;
    for (std::size_t i = 0; i < unpacked.terms.size(); ++i) {
        constexpr std::size_t ahead = 8;
        if (i + 2 * ahead < prepared.hashes.size()) table_.prefetch_slot(prepared.hashes[i + 2 * ahead]);
        if (i + ahead < prepared.hashes.size()) table_.prefetch_term(prepared.hashes[i + ahead]);
        const std::uint32_t term = table_.find_or_add(unpacked.terms[i].text, prepared.hashes[i]);
        file.terms.push_back(term);
        run.clear();
        for (const ChunkCount& entry : unpacked.counts_of(unpacked.terms[i])) {
            const std::uint32_t slot = file.first + entry.chunk;
            run.push_back(make_posting(slot, entry.count));
            if (entry.count > largest_inline_count) file.large.push_back({term, slot, entry.count});
        }
        replace(term, file.first, end, run);
    }
    if (!old_terms.empty()) {
        std::vector<std::uint32_t> kept = file.terms;
        std::sort(kept.begin(), kept.end());
        for (const std::uint32_t term : old_terms) {
            if (!std::binary_search(kept.begin(), kept.end(), term)) replace(term, file.first, end, {});
        }
    }
    std::sort(file.large.begin(), file.large.end(), [](const LargeCount& one, const LargeCount& other) {
        return std::tuple(one.term, one.slot) < std::tuple(other.term, other.slot);
    });
    file.large.shrink_to_fit();
    file_bytes_ += file.terms.capacity() * sizeof(std::uint32_t) + file.large.capacity() * sizeof(LargeCount);

    std::copy(unpacked.lengths.begin(), unpacked.lengths.end(), lengths_.begin() + file.first);
    std::fill_n(owners_.begin() + file.first, chunks, id);
    for (const std::uint32_t length : unpacked.lengths) total_length_ += length;
    documents_ -= file.chunks - chunks;
    ranges_.give_back(file.first + chunks, file.chunks - chunks);
    file.chunks = chunks;
}

void Bm25Index::take_out(File& file) {
    for (const std::uint32_t term : file.terms) replace(term, file.first, file.first + file.chunks, {});
    for (std::uint32_t i = 0; i < file.chunks; ++i) total_length_ -= lengths_[file.first + i];
    documents_ -= file.chunks;
    ranges_.give_back(file.first, file.chunks);
    file_bytes_ -= file.terms.capacity() * sizeof(std::uint32_t) + file.large.capacity() * sizeof(LargeCount);
    file = File{};
}

// Of one file: `run` in place of what the term has in its slots.
void Bm25Index::replace(std::uint32_t term, std::uint32_t first, std::uint32_t last, std::span<const Posting> run) {
    Postings& postings = table_.postings(term);
    const std::uint32_t before = postings.size();
    postings_bytes_ -= postings.heap_bytes();
    postings.replace(first, last, run);
    const std::uint32_t after = postings.size();
    if (frequencies_.size() <= after) frequencies_.resize(after + 1);
    if (before > 0) --frequencies_[before];
    if (after > 0) {
        ++frequencies_[after];
        postings_bytes_ += postings.heap_bytes();
    } else {
        table_.remove(term);
    }
}

// The lock is held, shared or alone.
const Bm25Index::Statistics& Bm25Index::statistics() const {
    if (!stale_.load(std::memory_order_acquire)) return statistics_;
    const std::lock_guard one(statistics_lock_);
    if (!stale_.load(std::memory_order_relaxed)) return statistics_;
    statistics_.average_length = static_cast<double>(total_length_) / static_cast<double>(documents_);
    double idf_sum = 0.0;
    for (std::uint32_t frequency = 1; frequency < frequencies_.size(); ++frequency) {
        if (frequencies_[frequency] > 0) idf_sum += frequencies_[frequency] * idf(frequency);
    }
    statistics_.average_idf = idf_sum / static_cast<double>(table_.size());
    statistics_.parts.resize((largest_inline_count + 1) * table_lengths);
    for (std::uint32_t count = 1; count <= largest_inline_count; ++count) {
        for (std::uint32_t length = 0; length < table_lengths; ++length) {
            statistics_.parts[count * table_lengths + length] = part(count, length, statistics_.average_length);
        }
    }
    stale_.store(false, std::memory_order_release);
    return statistics_;
}

double Bm25Index::idf(std::uint32_t frequency) const {
    const auto documents = static_cast<double>(documents_);
    return std::log(documents - frequency + 0.5) - std::log(frequency + 0.5);
}

double Bm25Index::part(std::uint32_t count, std::uint32_t length, double average_length) const {
    const auto& [k1, b, epsilon] = options_;
    return count * (k1 + 1) / (count + k1 * (1 - b + b * length / average_length));
}

inline double Bm25Index::fast_part(std::uint32_t term, Posting posting) const {
    const std::uint32_t length = lengths_[slot_of(posting)];
    if (count_of(posting) == 0 || length >= table_lengths) [[unlikely]] {
        return slow_part(term, posting);
    }
    return statistics_.parts[count_of(posting) * table_lengths + length];
}

double Bm25Index::slow_part(std::uint32_t term, Posting posting) const {
    const std::uint32_t slot = slot_of(posting);
    std::uint32_t count = count_of(posting);
    if (count == 0) {
        const std::vector<LargeCount>& large = files_.at(owners_[slot]).large;
        count = std::lower_bound(large.begin(), large.end(), std::tuple(term, slot),
                                 [](const LargeCount& entry, const std::tuple<std::uint32_t, std::uint32_t>& wanted) {
                                     return std::tuple(entry.term, entry.slot) < wanted;
                                 })
                    ->count;
    }
    return part(count, lengths_[slot], statistics_.average_length);
}

// The different terms of the query that the index knows, those that can add most first.
std::vector<Bm25Index::QueryTerm> Bm25Index::plan(const Bm25Query& query) const {
    std::unordered_map<std::uint32_t, std::size_t> places;
    std::vector<QueryTerm> terms;
    for (std::size_t i = 0; i < query.terms.size(); ++i) {
        const std::uint32_t term = table_.find(query.terms[i]);
        if (term == TermTable::none) continue;
        const auto [found, added] = places.try_emplace(term, terms.size());
        if (added) {
            const Postings& postings = table_.postings(term);
            terms.push_back({term, 0.0, postings.begin(), postings.end(), 0.0});
        }
        terms[found->second].weight += query.weights.empty() ? 1.0 : query.weights[i];
    }
    if (terms.empty()) return terms;
    const Statistics& known = statistics();
    for (QueryTerm& term : terms) {
        double value = idf(static_cast<std::uint32_t>(term.end - term.at));
        if (value < 0) value = options_.epsilon * known.average_idf;
        term.weight *= value;
    }
    std::erase_if(terms, [](const QueryTerm& term) { return term.weight == 0.0; });
    std::stable_sort(terms.begin(), terms.end(),
                     [](const QueryTerm& one, const QueryTerm& other) { return one.weight > other.weight; });
    // A part is below k1 + 1 for any count and length. Where the average idf is negative, so are weights.
    double rest = 0.0;
    for (auto term = terms.rbegin(); term != terms.rend(); ++term) {
        rest += std::max(0.0, term->weight) * (options_.k1 + 1);
        term->rest = rest;
    }
    return terms;
}

}  // namespace coder_lsp
