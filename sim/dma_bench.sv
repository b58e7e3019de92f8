// Load and store units on the standard memory: runs the programs of a file, writes what happened.
//
// Macros: BUS_BYTES, OUTSTANDING, BURST_BEATS. Plusargs: +programs=FILE +log=FILE.
//
// The program file holds, for each program, a line
//   read_latency write_latency rate_num rate_den stall seed base image dump limit loads stores
// and then, for each load and then each store, `not_before command` with the command in hex. A
// command is offered from cycle `not_before` on, but not before the cycle after the one before it
// was accepted. `base` is the memory's first address.
// The log holds lines `P` (program), `A unit cycle` (accepted), `D unit cycle` (done),
// `W buffer line data` (written to a buffer) and
// `E load_error store_error violations hang read_bytes write_bytes` (end).

module dma_bench;
  localparam int BITS = 8 * `BUS_BYTES;
  localparam int MOST = 1024;
  localparam int UNITS = 2;

  bit clk = 0;
  bit rst = 1;
  bit finished /* verilator public_flat_rw */ = 0;
  always #5 clk = ~clk;

  // ---- design under test ----------------------------------------------------------------------
  logic [511:0] payload[UNITS];
  logic [UNITS-1:0] valid, ready, done, busy;
  logic [1:0] error[UNITS];

  logic [39:0] araddr, awaddr;
  logic [7:0] arlen, awlen;
  logic [2:0] arsize, awsize;
  logic [1:0] arburst, awburst, rresp, bresp;
  logic [BITS-1:0] rdata, wdata;
  logic [`BUS_BYTES-1:0] wstrb;
  logic arid, rid, awid, bid;
  logic arvalid, arready, rvalid, rready, rlast;
  logic awvalid, awready, wvalid, wready, wlast, bvalid, bready;

  logic write_valid, read_en;
  logic [3:0] write_buffer, read_buffer;
  logic [23:0] write_line, read_line;
  logic [BITS-1:0] write_data, read_data;

  // Experts of odd number have tokens, those of even number have none.
  logic [5:0] expert;
  load load (
      .clk(clk), .rst(rst), .queue__expert(expert), .queue__lengths({`LENGTH_BITS{expert[0]}}),
      .command__payload(payload[0]), .command__valid(valid[0]), .command__ready(ready[0]),
      .axi__arid(arid), .axi__araddr(araddr), .axi__arlen(arlen), .axi__arsize(arsize),
      .axi__arburst(arburst), .axi__arvalid(arvalid), .axi__arready(arready),
      .axi__rid(rid), .axi__rdata(rdata), .axi__rresp(rresp), .axi__rlast(rlast),
      .axi__rvalid(rvalid), .axi__rready(rready),
      .write__valid(write_valid), .write__buffer(write_buffer), .write__line(write_line),
      .write__data(write_data), .done(done[0]), .busy(busy[0]), .error(error[0])
  );
  store store (
      .clk(clk), .rst(rst),
      .command__payload(payload[1]), .command__valid(valid[1]), .command__ready(ready[1]),
      .axi__awid(awid), .axi__awaddr(awaddr), .axi__awlen(awlen), .axi__awsize(awsize),
      .axi__awburst(awburst), .axi__awvalid(awvalid), .axi__awready(awready),
      .axi__wdata(wdata), .axi__wstrb(wstrb), .axi__wlast(wlast), .axi__wvalid(wvalid),
      .axi__wready(wready), .axi__bid(bid), .axi__bresp(bresp), .axi__bvalid(bvalid),
      .axi__bready(bready), .read__en(read_en), .read__buffer(read_buffer),
      .read__line(read_line), .read_data(read_data), .done(done[1]), .busy(busy[1]),
      .error(error[1])
  );

  longint base;
  longint unsigned read_bytes, write_bytes;
  int violations;
  wire [39:0] ar_offset = araddr - base[39:0];
  wire [39:0] aw_offset = awaddr - base[39:0];
  axi_memory #(.BUS_BYTES(`BUS_BYTES)) memory (
      .araddr(ar_offset), .awaddr(aw_offset), .*
  );
  axi_checker #(
      .BUS_BYTES(`BUS_BYTES), .BURST_BEATS(`BURST_BEATS), .OUTSTANDING(`OUTSTANDING)
  ) checker_i (
      .*
  );

  // ---- buffers: loads are logged, stores read a function of the place -------------------------
  function automatic logic [31:0] word_at(input logic [3:0] buffer, input logic [23:0] line,
                                          input int unsigned word);
    int unsigned x = 32'(line) * 32'h9e3779b1;
    x ^= 32'(buffer) * 32'h85ebca6b;
    x ^= (word + 1) * 32'hc2b2ae35;
    x ^= x >> 15;
    x *= 32'h2c1b3c6d;
    return x ^ (x >> 12);
  endfunction

  logic [28:0] stage[3];  // en, buffer, line
  always @(posedge clk) begin
    stage[0] <= {read_en, read_buffer, read_line};
    stage[1] <= stage[0];
    stage[2] <= stage[1];
  end
  always_comb begin
    read_data = '1;  // anything that must not be used
    if (stage[2][28]) begin
      for (int unsigned word = 0; word < `BUS_BYTES / 4; word++) begin
        read_data[32*word+:32] = word_at(stage[2][27:24], stage[2][23:0], word);
      end
    end
  end

  // ---- programs -------------------------------------------------------------------------------
  int programs, log, fields, seed, limit;
  int count[UNITS], offered[UNITS], completed[UNITS];
  int read_latency, write_latency;
  longint rate_num, rate_den;
  real stall;
  string name, image, dump_file;
  longint not_before[UNITS][MOST];
  logic [511:0] commands[UNITS][MOST];
  longint cycle;

  task automatic read_program(output bit more);
    fields = $fscanf(programs, "%d %d %d %d %f %d %d %s %s %d %d %d", read_latency, write_latency,
                     rate_num, rate_den, stall, seed, base, image, dump_file, limit, count[0],
                     count[1]);
    more = fields == 12;
    if (more) begin
      for (int unit = 0; unit < UNITS; unit++) begin
        for (int i = 0; i < count[unit]; i++) begin
          fields = $fscanf(programs, "%d %h", not_before[unit][i], commands[unit][i]);
        end
      end
    end
  endtask

  // One clock edge of a running program; it ends the cycle `cycle`.
  bit running = 0;
  int busy_errors;  // cycles in which `busy` does not say what it should
  always @(posedge clk) begin
    if (!running) begin
      valid <= '0;
      cycle = -1;
      busy_errors = 0;
      for (int unit = 0; unit < UNITS; unit++) begin
        offered[unit]   = 0;
        completed[unit] = 0;
      end
    end else begin
      for (int unit = 0; unit < UNITS; unit++) begin
        if (busy[unit] != (offered[unit] != completed[unit])) busy_errors++;
        if (valid[unit] && ready[unit]) begin
          $fwrite(log, "A %0d %0d\n", unit, cycle);
          offered[unit]++;
        end
        if (done[unit]) begin
          $fwrite(log, "D %0d %0d\n", unit, cycle);
          completed[unit]++;
        end
        valid[unit]   <= 0;
        payload[unit] <= '0;
        if (offered[unit] < count[unit] && not_before[unit][offered[unit]] <= cycle + 1) begin
          valid[unit]   <= 1;
          payload[unit] <= commands[unit][offered[unit]];
        end
      end
      if (write_valid) $fwrite(log, "W %0d %0d %h\n", write_buffer, write_line, write_data);
      cycle++;
    end
  end

  // Settings change at falling edges only.
  initial begin
    bit more;
    void'($value$plusargs("programs=%s", name));
    programs = $fopen(name, "r");
    void'($value$plusargs("log=%s", name));
    log = $fopen(name, "w");
    read_program(more);
    while (more) begin
      memory.reload(image, 0);
      memory.configure(read_latency, write_latency, rate_num, rate_den, stall, seed);
      rst = 1;
      repeat (5) @(negedge clk);
      rst = 0;
      $fwrite(log, "P\n");
      running = 1;
      do @(negedge clk);
      while ((completed[0] < count[0] || completed[1] < count[1]) && cycle < longint'(limit));
      repeat (4) @(negedge clk);
      running = 0;
      $fwrite(log, "E %0d %0d %0d %0d %0d %0d\n", error[0], error[1], violations + busy_errors,
              32'(cycle >= longint'(limit)), read_bytes, write_bytes);
      memory.dump(dump_file);
      read_program(more);
    end
    $fclose(log);
    finished = 1;
  end
endmodule
