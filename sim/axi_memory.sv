// The standard memory: an AXI4 slave with exact timing and, on demand, random stalls.
//
// Read: an address accepted in cycle c gives its first beat in cycle c + latency at the earliest.
// Write: the response comes `latency` cycles after the last beat was accepted at the earliest.
// Rate: each channel has a bucket of credit that gains `rate_num` per cycle up to the price of two
// beats; a beat costs BUS_BYTES * rate_den. A read beat pays in its cycle, a written beat in the
// cycle after it was accepted or later. A rate above the bus width means one beat per cycle.
// Bursts are served in order, INCR only. Without stalls, ARREADY and AWREADY are high unless DEPTH
// bursts are in flight, and WREADY is high from the cycle after an address until its last beat.
// With stalls, each of the five channels pauses in a cycle with the given chance.
//
// Plusargs: +latency=N +read_latency=N +write_latency=N +rate_num=N +rate_den=N +stall=0.5 +seed=N
// +image=FILE (raw bytes from address 0) +memory_bytes=N (grow to this size) +dump=FILE (at the
// end). Settings that `configure` changes take effect in reset.
// Beyond the memory's end, reads give zeros, writes nothing, and both DECERR; SLVERR for a beat
// that lies across the end.

/* verilator lint_off BLKSEQ */
module axi_memory #(
    parameter int BUS_BYTES = 8,
    parameter int ADDRESS_BITS = 40,
    parameter int DEPTH = 64
) (
    input  logic                    clk,
    input  logic                    rst,
    input  logic                    arid,
    input  logic [ADDRESS_BITS-1:0] araddr,
    input  logic [             7:0] arlen,
    input  logic                    arvalid,
    output logic                    arready,
    output logic                    rid,
    output logic [ 8*BUS_BYTES-1:0] rdata,
    output logic [             1:0] rresp,
    output logic                    rlast,
    output logic                    rvalid,
    input  logic                    rready,
    input  logic                    awid,
    input  logic [ADDRESS_BITS-1:0] awaddr,
    input  logic [             7:0] awlen,
    input  logic                    awvalid,
    output logic                    awready,
    input  logic [ 8*BUS_BYTES-1:0] wdata,
    input  logic [   BUS_BYTES-1:0] wstrb,
    input  logic                    wlast,
    input  logic                    wvalid,
    output logic                    wready,
    output logic                    bid,
    output logic [             1:0] bresp,
    output logic                    bvalid,
    input  logic                    bready,
    output longint unsigned         read_bytes,
    output longint unsigned         write_bytes
);
  import "DPI-C" function int mem_reload(
    input string  file,
    input longint size
  );
  import "DPI-C" function int mem_dump(input string file);
  import "DPI-C" function int mem_read_beat(
    input  longint     address,
    input  int         beat_bytes,
    output bit [511:0] data
  );
  import "DPI-C" function int mem_write_beat(
    input longint     address,
    input int         beat_bytes,
    input longint     strobe,
    input bit [511:0] data
  );

  localparam logic [1:0] OKAY = 2'b00;
  localparam int POINTER_BITS = $clog2(DEPTH);
  localparam longint ALIGN = ~longint'(BUS_BYTES - 1);

  // ---- settings -------------------------------------------------------------------------------
  int read_latency = 32, write_latency = 32;
  longint rate_num = 8, rate_den = 1;
  int stall_chance = 0;  // of 65536
  int unsigned stall_seed = 1;

  task automatic configure(input int read_cycles, input int write_cycles, input longint num,
                           input longint den, input real stall, input int unsigned seed);
    read_latency  = read_cycles;
    write_latency = write_cycles;
    rate_num      = num;
    rate_den      = den;
    stall_chance  = $rtoi(stall * 65536.0);
    stall_seed    = seed;
  endtask

  task automatic reload(input string file, input longint size);
    if (mem_reload(file, size) != 0) $fatal(1, "memory: cannot read %s", file);
  endtask

  task automatic dump(input string file);
    if (mem_dump(file) != 0) $fatal(1, "memory: cannot write %s", file);
  endtask

  initial begin
    string  file;
    longint size;
    real    stall;
    file = "";
    size = 0;
    void'($value$plusargs("image=%s", file));
    void'($value$plusargs("memory_bytes=%d", size));
    reload(file, size);
    if ($value$plusargs("latency=%d", read_latency)) write_latency = read_latency;
    void'($value$plusargs("read_latency=%d", read_latency));
    void'($value$plusargs("write_latency=%d", write_latency));
    void'($value$plusargs("rate_num=%d", rate_num));
    void'($value$plusargs("rate_den=%d", rate_den));
    if ($value$plusargs("stall=%f", stall)) stall_chance = $rtoi(stall * 65536.0);
    void'($value$plusargs("seed=%d", stall_seed));
  end

  final begin
    string file;
    if ($value$plusargs("dump=%s", file)) dump(file);
  end

  // ---- random stalls: one xorshift generator per channel --------------------------------------
  int unsigned ar_random, r_random, aw_random, w_random, b_random;

  function automatic int unsigned first_random(input int unsigned channel);
    return (stall_seed + 1) * 32'h9e3779b1 ^ channel * 32'h85ebca6b;
  endfunction

  function automatic int unsigned next_random(input int unsigned number);
    int unsigned x = number;
    x ^= x << 13;
    x ^= x >> 17;
    return x ^ (x << 5);
  endfunction

  function automatic logic stalled(input int unsigned number);
    return int'(number[31:16]) < stall_chance;
  endfunction

  // ---- time -----------------------------------------------------------------------------------
  // `next` is the cycle that begins at the present edge.
  longint cycle;
  wire logic signed [63:0] next = cycle + 1;
  wire logic signed [63:0] price = longint'(BUS_BYTES) * rate_den;

  function automatic longint refill(input longint credit);
    return credit + rate_num > 2 * price ? 2 * price : credit + rate_num;
  endfunction

  always @(posedge clk) cycle <= rst ? 0 : next;

  // ---- read -----------------------------------------------------------------------------------
  longint r_address[DEPTH], r_time[DEPTH];
  logic [7:0] r_len[DEPTH];
  logic r_id[DEPTH];
  logic [POINTER_BITS:0] r_head, r_tail;
  int r_beat;
  longint r_credit;
  bit [511:0] r_data;

  always @(posedge clk) begin
    if (rst) begin
      {r_head, r_tail} = '0;
      r_beat           = 0;
      r_credit         = 2 * price;
      ar_random        = first_random(1);
      r_random         = first_random(2);
      rvalid     <= 1'b0;
      arready    <= 1'b1;
      read_bytes <= 0;
    end else begin
      if (arvalid && arready) begin
        r_address[r_tail[POINTER_BITS-1:0]] = longint'(araddr) & ALIGN;
        r_len[r_tail[POINTER_BITS-1:0]]     = arlen;
        r_id[r_tail[POINTER_BITS-1:0]]      = arid;
        r_time[r_tail[POINTER_BITS-1:0]]    = cycle + longint'(read_latency);
        r_tail++;
      end
      if (stall_chance != 0) begin
        ar_random = next_random(ar_random);
        r_random  = next_random(r_random);
      end
      r_credit = refill(r_credit);
      if (!rvalid || rready) begin
        automatic int head = int'(r_head[POINTER_BITS-1:0]);
        automatic logic due = r_head != r_tail && r_time[head] <= next;
        if (due && r_credit >= price && !stalled(r_random)) begin
          automatic int response = mem_read_beat(r_address[head], BUS_BYTES, r_data);
          automatic logic last = r_beat == int'(r_len[head]);
          r_credit -= price;
          r_address[head] += longint'(BUS_BYTES);
          rvalid     <= 1'b1;
          rdata      <= r_data[8*BUS_BYTES-1:0];
          rresp      <= response[1:0];
          rlast      <= last;
          rid        <= r_id[head];
          read_bytes <= read_bytes + longint'(BUS_BYTES);
          r_beat = last ? 0 : r_beat + 1;
          if (last) r_head++;
        end else rvalid <= 1'b0;
      end
      arready <= r_tail - r_head != (POINTER_BITS+1)'(DEPTH) && !stalled(ar_random);
    end
  end

  // ---- write ----------------------------------------------------------------------------------
  // Bursts pass four marks: address accepted, data accepted, data paid for, response given.
  longint w_address[DEPTH], w_end[DEPTH], b_time[DEPTH];
  logic [1:0] b_resp[DEPTH];
  logic b_id[DEPTH];
  logic [POINTER_BITS:0] aw_tail, w_head, paid_head, b_head;
  longint accepted, paid, w_credit;

  always @(posedge clk) begin
    if (rst) begin
      {aw_tail, w_head, paid_head, b_head} = '0;
      accepted = 0;
      paid     = 0;
      w_credit = 2 * price;
      aw_random = first_random(3);
      w_random  = first_random(4);
      b_random  = first_random(5);
      bvalid      <= 1'b0;
      awready     <= 1'b1;
      wready      <= 1'b0;
      write_bytes <= 0;
    end else begin
      if (awvalid && awready) begin
        w_address[aw_tail[POINTER_BITS-1:0]] = longint'(awaddr) & ALIGN;
        b_resp[aw_tail[POINTER_BITS-1:0]]    = OKAY;
        b_id[aw_tail[POINTER_BITS-1:0]]      = awid;
        aw_tail++;
      end
      if (wvalid && wready) begin
        automatic int head = int'(w_head[POINTER_BITS-1:0]);
        automatic int response = mem_write_beat(w_address[head], BUS_BYTES, longint'(wstrb),
                                                512'(wdata));
        if (response != 0) b_resp[head] = response[1:0];
        w_address[head] += longint'(BUS_BYTES);
        accepted++;
        write_bytes <= write_bytes + longint'($countones(wstrb));
        if (wlast) begin
          w_end[head] = accepted;
          w_head++;
        end
      end
      if (stall_chance != 0) begin
        aw_random = next_random(aw_random);
        w_random  = next_random(w_random);
        b_random  = next_random(b_random);
      end
      w_credit = refill(w_credit);
      if (accepted != paid && w_credit >= price) begin
        automatic int head = int'(paid_head[POINTER_BITS-1:0]);
        w_credit -= price;
        paid++;
        if (paid_head != w_head && w_end[head] == paid) begin
          b_time[head] = cycle + longint'(write_latency);
          paid_head++;
        end
      end
      if (!bvalid || bready) begin
        automatic int head = int'(b_head[POINTER_BITS-1:0]);
        if (b_head != paid_head && b_time[head] <= next && !stalled(b_random)) begin
          bvalid <= 1'b1;
          bresp  <= b_resp[head];
          bid    <= b_id[head];
          b_head++;
        end else bvalid <= 1'b0;
      end
      awready <= aw_tail - b_head != (POINTER_BITS+1)'(DEPTH) && !stalled(aw_random);
      wready  <= w_head != aw_tail && !stalled(w_random);
    end
  end

  wire unused = &{1'b0, awlen};  // WLAST ends a burst
endmodule
/* verilator lint_on BLKSEQ */
