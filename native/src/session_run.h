// One call of a session: its turn among those of other threads.

#pragma once

#include <chrono>
#include <mutex>
#include <thread>

#include "faults.h"
#include "session.h"

namespace coder_lsp {

// Waits for its turn, and gives it back. Not taken: cancelled while waiting.
class Session::Run {
  public:
    Run(Session& session, const CancelFlag* cancel) : session_(session) {
        if (session.runner_.load() == std::this_thread::get_id()) {
            throw Fault(FaultKind::engine, "the engine was called from inside its own callback",
                        "let the callback return first");
        }
        while (!soon(session.running_)) {
            if (cancel && cancel->cancelled()) return;
        }
        if (session.closing_) {
            session.running_.unlock();
            throw Fault(FaultKind::engine, "the engine is closed", "load the model again");
        }
        taken_ = true;
        session.runner_.store(std::this_thread::get_id());
        session.cancel_ = cancel;
        ++session.clock_;
    }
    ~Run() {
        if (!taken_) return;
        session_.cancel_ = nullptr;
        session_.runner_.store(std::thread::id());
        session_.running_.unlock();
    }
    Run(const Run&) = delete;
    Run& operator=(const Run&) = delete;
    bool taken() const { return taken_; }

  private:
    static bool soon(std::timed_mutex& mutex) {
        constexpr std::chrono::milliseconds wait(5);
#ifdef __SANITIZE_THREAD__
        // GCC 12's ThreadSanitizer does not see pthread_mutex_clocklock, which try_lock_for calls: it would report
        // everything that the lock protects.
        if (mutex.try_lock()) return true;
        std::this_thread::sleep_for(wait);
        return mutex.try_lock();
#else
        return mutex.try_lock_for(wait);
#endif
    }

    Session& session_;
    bool taken_ = false;
};

}  // namespace coder_lsp
