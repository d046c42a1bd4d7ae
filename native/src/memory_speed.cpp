#include "memory_speed.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <thread>
#include <vector>

#include "faults.h"

namespace coder_lsp {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

double read_bandwidth(std::size_t bytes, std::int32_t threads, double seconds) {
    const std::size_t words = bytes / sizeof(std::uint64_t);
    if (threads < 1 || words < static_cast<std::size_t>(threads)) throw Fault(FaultKind::engine, "nothing to read");
    // Written, so that each page is there: pages never touched are all the same one.
    std::vector<std::uint64_t> memory(words);
    std::iota(memory.begin(), memory.end(), std::uint64_t{1});
    std::vector<std::uint64_t> sums(static_cast<std::size_t>(threads));
    const std::size_t share = words / sums.size();
    double best = 0;
    const Clock::time_point start = Clock::now();
    do {
        const Clock::time_point pass = Clock::now();
        std::vector<std::thread> readers;
        readers.reserve(sums.size());
        for (std::size_t i = 0; i < sums.size(); ++i) {
            readers.emplace_back([&, i] {
                const std::uint64_t* const begin = memory.data() + i * share;
                sums[i] += std::accumulate(begin, begin + share, std::uint64_t{0});
            });
        }
        for (std::thread& reader : readers) reader.join();
        best = std::max(best, static_cast<double>(share * sums.size() * sizeof(std::uint64_t)) / seconds_since(pass));
    } while (seconds_since(start) < seconds);
    // Looked at, so that no compiler leaves the reading out.
    const volatile std::uint64_t looked_at = std::accumulate(sums.begin(), sums.end(), std::uint64_t{0});
    static_cast<void>(looked_at);
    return best;
}

}  // namespace coder_lsp
