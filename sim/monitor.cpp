// Logs of the system bench: one binary file per kind, records of fixed size.

#include <cstdint>
#include <cstdio>
#include <string>

#include "svdpi.h"

namespace {

struct Log {
  FILE* file = nullptr;
  void open(const std::string& path) {
    file = std::fopen(path.c_str(), "wb");
    if (file) std::setvbuf(file, nullptr, _IOFBF, 1 << 20);
  }
  void words(std::initializer_list<uint32_t> values) {
    for (uint32_t value : values) std::fwrite(&value, sizeof value, 1, file);
  }
  void bytes(const svBitVecVal* data, int count) {
    std::fwrite(data, 1, static_cast<size_t>(count), file);
  }
};

constexpr int MEMORIES = 9;  // of the training machine

Log writes[MEMORIES];
Log runs, events, array_log, vector_log, rowstat_log, route_log, load_log;
uint32_t run = 0;

}  // namespace

extern "C" {

void log_open(const char* prefix) {
  const std::string base(prefix);
  runs.open(base + "runs.bin");
  events.open(base + "events.bin");
  array_log.open(base + "array.bin");
  vector_log.open(base + "vector.bin");
  rowstat_log.open(base + "rowstat.bin");
  route_log.open(base + "route.bin");
  load_log.open(base + "load.bin");
  for (int memory = 0; memory < MEMORIES; ++memory) {
    writes[memory].open(base + "write" + std::to_string(memory) + ".bin");
  }
}

// A slice that the training machine wrote.
void log_write(int memory, int slice, int enable, const svBitVecVal* data, int bytes) {
  writes[memory].words({run, static_cast<uint32_t>(slice), static_cast<uint32_t>(enable)});
  writes[memory].bytes(data, bytes);
}

// Ends a run: what follows belongs to the next one.
void log_run(int result, long long cycles, long long read_bytes, long long write_bytes,
             int key_lines, int value_lines, int kv_beats) {
  runs.words({static_cast<uint32_t>(result), static_cast<uint32_t>(cycles),
              static_cast<uint32_t>(cycles >> 32), static_cast<uint32_t>(read_bytes),
              static_cast<uint32_t>(read_bytes >> 32), static_cast<uint32_t>(write_bytes),
              static_cast<uint32_t>(write_bytes >> 32), static_cast<uint32_t>(key_lines),
              static_cast<uint32_t>(value_lines), static_cast<uint32_t>(kv_beats)});
  ++run;
  for (Log* log :
       {&runs, &events, &array_log, &vector_log, &rowstat_log, &route_log, &load_log}) {
    std::fflush(log->file);
  }
  for (Log& log : writes) std::fflush(log.file);
}

void log_event(int kind, int unit, long long cycle) {
  events.words({run, static_cast<uint32_t>(kind), static_cast<uint32_t>(unit),
                static_cast<uint32_t>(cycle), static_cast<uint32_t>(cycle >> 32)});
}

void log_array(int valid, int dest, int word, int word1, int slice, const svBitVecVal* narrow,
               const svBitVecVal* wide, int narrow_bytes, int wide_bytes) {
  array_log.words({run, static_cast<uint32_t>(valid), static_cast<uint32_t>(dest),
                   static_cast<uint32_t>(word), static_cast<uint32_t>(word1),
                   static_cast<uint32_t>(slice)});
  array_log.bytes(narrow, narrow_bytes);
  array_log.bytes(wide, wide_bytes);
}

void log_vector(int buffer, int bank, int word, int sub, const svBitVecVal* narrow,
                const svBitVecVal* wide, int narrow_bytes, int wide_bytes) {
  vector_log.words({run, static_cast<uint32_t>(buffer), static_cast<uint32_t>(bank),
                    static_cast<uint32_t>(word), static_cast<uint32_t>(sub)});
  vector_log.bytes(narrow, narrow_bytes);
  vector_log.bytes(wide, wide_bytes);
}

void log_rowstat(int bank, int row, int multiplier, int shift) {
  rowstat_log.words({run, static_cast<uint32_t>(bank), static_cast<uint32_t>(row),
                     static_cast<uint32_t>(multiplier), static_cast<uint32_t>(shift)});
}

void log_route(int bank, int row, int expert, int score) {
  route_log.words({run, static_cast<uint32_t>(bank), static_cast<uint32_t>(row),
                   static_cast<uint32_t>(expert), static_cast<uint32_t>(score)});
}

void log_load(int buffer, int line, const svBitVecVal* data, int bus_bytes) {
  load_log.words({run, static_cast<uint32_t>(buffer), static_cast<uint32_t>(line)});
  load_log.bytes(data, bus_bytes);
}

}
