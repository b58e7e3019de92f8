// Backing store of the memory model: flat bytes, reached from Verilog by DPI calls.

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include "svdpi.h"

namespace {

std::vector<uint8_t> bytes;
const int kMaxBeatBytes = 64;

const int kOkay = 0, kSlverr = 2, kDecerr = 3;  // as AXI's responses

int respond(uint64_t address, int beat_bytes) {
  if (beat_bytes > kMaxBeatBytes || address >= bytes.size()) return kDecerr;
  return bytes.size() - address < static_cast<uint64_t>(beat_bytes) ? kSlverr : kOkay;
}

}  // namespace

extern "C" {

// Fill the memory from a file of raw bytes, from address 0, with zeros up to `size`; an empty name
// gives zeros only. Returns 1 where the file could not be read.
int mem_reload(const char* file, long long size) {
  bytes.clear();
  if (*file) {
    FILE* in = std::fopen(file, "rb");
    if (!in) return 1;
    std::fseek(in, 0, SEEK_END);
    bytes.resize(static_cast<size_t>(std::ftell(in)));
    std::rewind(in);
    size_t got = std::fread(bytes.data(), 1, bytes.size(), in);
    std::fclose(in);
    if (got != bytes.size()) return 1;
  }
  if (static_cast<uint64_t>(size) > bytes.size()) bytes.resize(static_cast<size_t>(size));
  return 0;
}

// Write the whole memory to a file. Returns 1 where that failed.
int mem_dump(const char* file) {
  FILE* out = std::fopen(file, "wb");
  if (!out) return 1;
  size_t put = std::fwrite(bytes.data(), 1, bytes.size(), out);
  return (std::fclose(out) != 0 || put != bytes.size()) ? 1 : 0;
}

// Read one beat. Returns AXI's response: DECERR where the beat lies outside of the memory, SLVERR
// where its end does; the data is zero then.
int mem_read_beat(long long address, int beat_bytes, svBitVecVal* data) {
  const int response = respond(static_cast<uint64_t>(address), beat_bytes);
  if (response != kOkay) {
    std::memset(data, 0, kMaxBeatBytes);
    return response;
  }
  std::memcpy(data, bytes.data() + address, static_cast<size_t>(beat_bytes));
  return kOkay;
}

// Write the bytes of one beat that `strobe` names. Returns AXI's response as for reads; nothing is
// written where it is an error.
int mem_write_beat(long long address, int beat_bytes, long long strobe, const svBitVecVal* data) {
  const int response = respond(static_cast<uint64_t>(address), beat_bytes);
  if (response != kOkay) return response;
  const uint8_t* from = reinterpret_cast<const uint8_t*>(data);
  const uint64_t all = ~uint64_t{0} >> (kMaxBeatBytes - beat_bytes);
  if ((static_cast<uint64_t>(strobe) & all) == all) {
    std::memcpy(bytes.data() + address, from, static_cast<size_t>(beat_bytes));
    return kOkay;
  }
  for (int i = 0; i < beat_bytes; ++i) {
    if (strobe >> i & 1) bytes[static_cast<size_t>(address) + i] = from[i];
  }
  return kOkay;
}

}
