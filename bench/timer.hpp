// Timing on the GPU: graphs of launches over rotating input sets, replayed in bursts and under sustained load.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "plan.hpp"
#include "sm_clock.hpp"
#include "statistics.hpp"
#include "w8a8/support/error.hpp"

namespace w8a8::bench {

/// A CUDA handle that destroys itself. Move-only.
template <class Handle, cudaError_t (*Destroy)(Handle)>
class Owned {
 public:
  Owned() = default;
  explicit Owned(Handle handle) : handle_(handle) {}
  Owned(Owned&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Owned& operator=(Owned&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Owned() {
    if (handle_) Destroy(handle_);
  }
  Handle get() const { return handle_; }

 private:
  Handle handle_ = nullptr;
};

using Stream = Owned<cudaStream_t, cudaStreamDestroy>;
using Event = Owned<cudaEvent_t, cudaEventDestroy>;
using GraphExec = Owned<cudaGraphExec_t, cudaGraphExecDestroy>;

inline Stream make_stream() {
  cudaStream_t stream = nullptr;
  check_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  return Stream(stream);
}

inline Event make_event() {
  cudaEvent_t event = nullptr;
  check_cuda(cudaEventCreate(&event), "cudaEventCreate");
  return Event(event);
}

/// Work to be timed: launch(i, stream) enqueues it once on input set i % sets. It must be capturable.
struct Work {
  std::string name;
  int sets = 1;
  std::function<void(int, cudaStream_t)> launch;
};

/// A graph of `launches` calls of the work, from input set `first` on.
inline GraphExec make_graph(const Work& work, int launches, cudaStream_t stream, int first = 0) {
  check_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  cudaGraph_t graph = nullptr;
  try {
    for (int i = 0; i < launches; ++i) work.launch((first + i) % work.sets, stream);
  } catch (...) {
    cudaStreamEndCapture(stream, &graph);
    if (graph) cudaGraphDestroy(graph);
    cudaGetLastError();
    throw;
  }
  check_cuda(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
  cudaGraphExec_t exec = nullptr;
  const cudaError_t instantiated = cudaGraphInstantiate(&exec, graph, 0);
  cudaGraphDestroy(graph);
  check_cuda(instantiated, "cudaGraphInstantiate");
  GraphExec owned(exec);
  check_cuda(cudaGraphUpload(exec, stream), "cudaGraphUpload");
  return owned;
}

/// One of those that are measured side by side: ours, or a peer. Samples are microseconds a launch.
struct Contender {
  Work work;
  int launches = 0;      ///< of a graph replay
  double replay_us = 0;  ///< about
  GraphExec graph;
  std::vector<double> burst, sustained;
  std::vector<double> burst_mhz, sustained_mhz;  ///< SM clock during the samples
  bool only_burst = false;                       ///< no sustained figure, and one burst is enough
};

/// Measures contenders on one stream. Not thread-safe.
class Timer {
 public:
  Timer() : stream_(make_stream()) {
    for (EventPair& pair : events_) pair = {make_event(), make_event()};
  }

  cudaStream_t stream() const { return stream_.get(); }

  /// Microseconds a launch, roughly: replays a graph of `launches` after one that warms up.
  double estimate(const Work& work, int launches) {
    const GraphExec graph = make_graph(work, launches, stream());
    replay(graph);
    timed_replay(graph, 0);
    timed_replay(graph, 1);
    synchronize();
    return std::min(elapsed_us(0), elapsed_us(1)) / launches;
  }

  /// Captures the work, as many launches as plan.hpp says. `guess_us` keeps the pilot run short.
  Contender prepare(Work work, double guess_us) {
    const int pilot = static_cast<int>(std::clamp(300.0 / std::max(guess_us, 1.0), 1.0, 64.0));
    const double us = estimate(work, pilot);
    return capture(std::move(work), us, graph_us);
  }

  /// The same where a launch is known to take about `us`: no pilot run, a graph of about `wanted_us`.
  Contender capture(Work work, double us, double wanted_us) {
    Contender contender;
    contender.launches = graph_launches(us, work.sets, wanted_us);
    contender.replay_us = us * contender.launches;
    contender.graph = make_graph(work, contender.launches, stream());
    contender.work = std::move(work);
    return contender;
  }

  /// A burst of each contender in turn, `rounds` times over: 100 ms of idling, one replay that warms up, then the samples.
  /// `idle_seconds` and `most_samples` may be less for work that the clock hardly touches.
  void burst(std::vector<Contender>& contenders, int rounds, double idle_seconds = burst_idle_seconds, int most_samples = 7) {
    for (int round = 0; round < rounds; ++round) {
      for (Contender& contender : contenders) {
        if (contender.only_burst && round > 0) continue;
        std::this_thread::sleep_for(std::chrono::duration<double>(idle_seconds));
        const int samples = std::min(most_samples, burst_samples(contender.replay_us));
        replay(contender.graph);
        for (int i = 0; i < samples; ++i) timed_replay(contender.graph, i);
        const double megahertz = clock_until_done(samples - 1);
        if (megahertz > 0) contender.burst_mhz.push_back(megahertz);
        for (int i = 0; i < samples; ++i) contender.burst.push_back(elapsed_us(i) / contender.launches);
      }
    }
  }

  /// 400 ms of load, then timed replays without a pause. One contender after the other: the first loads the card for 400 ms, each
  /// of the others takes over the loaded card for 250 ms before it is timed, so that each runs at the clock that it leaves
  /// itself; or, where `mixed`, all take turns, replay by replay, and share a clock. Contender `first` begins: let it change from
  /// row to row, for the card is coolest then.
  void sustained(std::vector<Contender>& contenders, bool mixed, std::size_t first = 0) {
    std::vector<Contender*> chosen;
    for (std::size_t i = 0; i < contenders.size(); ++i) {
      Contender& contender = contenders[(first + i) % contenders.size()];
      if (!contender.only_burst) chosen.push_back(&contender);
    }
    if (mixed) return sustained(chosen, sustained_load_us);
    double load_us = sustained_load_us;
    for (Contender* contender : chosen) {
      sustained({contender}, load_us);
      load_us = own_load_us;
    }
  }

 private:
  using EventPair = std::pair<Event, Event>;
  static constexpr int event_pairs = 64;

  void sustained(const std::vector<Contender*>& contenders, double load_us) {
    double round_us = 0;
    for (const Contender* contender : contenders) round_us += contender->replay_us;
    for (int round = load_rounds(round_us, load_us); round > 0; --round) {
      for (const Contender* contender : contenders) replay(contender->graph);
    }
    const int rounds = std::min(sustained_rounds(round_us), event_pairs / static_cast<int>(contenders.size()));
    int pair = 0;
    for (int round = 0; round < rounds; ++round) {
      for (const Contender* contender : contenders) timed_replay(contender->graph, pair++);
    }
    check_cuda(cudaEventSynchronize(events_[0].first.get()), "cudaEventSynchronize");
    const double megahertz = clock_until_done(pair - 1);
    pair = 0;
    for (int round = 0; round < rounds; ++round) {
      for (Contender* contender : contenders) contender->sustained.push_back(elapsed_us(pair++) / contender->launches);
    }
    for (Contender* contender : contenders) {
      if (megahertz > 0) contender->sustained_mhz.push_back(megahertz);
    }
  }

  void replay(const GraphExec& graph) { check_cuda(cudaGraphLaunch(graph.get(), stream()), "cudaGraphLaunch"); }

  void timed_replay(const GraphExec& graph, int pair) {
    check_cuda(cudaEventRecord(events_[pair].first.get(), stream()), "cudaEventRecord");
    replay(graph);
    check_cuda(cudaEventRecord(events_[pair].second.get(), stream()), "cudaEventRecord");
  }

  void synchronize() { check_cuda(cudaStreamSynchronize(stream()), "cudaStreamSynchronize"); }

  double elapsed_us(int pair) {
    float milliseconds = 0;
    check_cuda(cudaEventElapsedTime(&milliseconds, events_[pair].first.get(), events_[pair].second.get()),
               "cudaEventElapsedTime");
    return 1e3 * milliseconds;
  }

  /// Waits for pair `last` and samples the clock meanwhile; the median of the samples, 0 where there is none.
  double clock_until_done(int last) {
    std::vector<double> samples;
    while (cudaEventQuery(events_[last].second.get()) == cudaErrorNotReady) {
      const double megahertz = clock_.megahertz();
      if (megahertz > 0) samples.push_back(megahertz);
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    cudaGetLastError();  // cudaErrorNotReady is an answer, not an error
    synchronize();
    return median(samples);
  }

  Stream stream_;
  SmClock clock_;
  EventPair events_[event_pairs];
};

}  // namespace w8a8::bench
