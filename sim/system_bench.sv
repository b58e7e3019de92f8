// The whole accelerator on the standard memory: starts it over AXI4-Lite, watches what it does.
//
// Macros: BUS_BYTES, TOKENS (tokens per beat), NARROW and WIDE (bits of the array's results),
// VECTOR_NARROW and VECTOR_WIDE (bits of the vector unit's results), EXPERTS where it has some,
// LINE_VALID, LINE_KV, BEAT_VALID and BEAT_SCALE (places of fields in the array's inputs).
// The training machine has TRAINING instead, with LANES, WORD, OPERANDS (bits of a slice of
// operands) and LINE (bits of a word of packed weights, of WORD values).
// Plusargs: +runs=FILE +logs=PREFIX +quiet=N (cycles without progress that count as a hang).
// The runs file holds, for each run, a line
//   image dump program_address latency rate_num rate_den stall seed limit
// Monitors look at the units' ports from outside, so that looking costs no cycle.

module system_bench;
  localparam int BITS = 8 * `BUS_BYTES;
  localparam int UNITS = 5;

  bit clk = 0;
  bit rst = 1;
  bit finished /* verilator public_flat_rw */ = 0;
  always #5 clk = ~clk;

  import "DPI-C" function void log_open(input string prefix);
  import "DPI-C" function void log_run(input int result, input longint cycles,
                                       input longint read_bytes, input longint write_bytes,
                                       input int key_lines, input int value_lines,
                                       input int kv_beats);
  import "DPI-C" function void log_event(input int kind, input int unit, input longint cycle);
`ifdef TRAINING
  localparam int LOG = 32 * `LANES > `LINE ? 32 * `LANES : `LINE;
  import "DPI-C" function void log_write(input int memory, input int slice, input int enable,
                                         input bit [LOG-1:0] data, input int bytes);
`else
  import "DPI-C" function void log_array(input int valid, input int dest, input int word,
                                         input int word1, input int slice, input bit [`NARROW-1:0] narrow,
                                         input bit [`WIDE-1:0] wide, input int narrow_bytes,
                                         input int wide_bytes);
  import "DPI-C" function void log_vector(input int buffer, input int bank, input int word,
                                          input int sub, input bit [`VECTOR_NARROW-1:0] narrow,
                                          input bit [`VECTOR_WIDE-1:0] wide, input int narrow_bytes,
                                          input int wide_bytes);
  import "DPI-C" function void log_rowstat(input int bank, input int row, input int multiplier,
                                           input int shift);
  import "DPI-C" function void log_route(input int bank, input int row, input int expert,
                                         input int score);
  import "DPI-C" function void log_load(input int buffer, input int line,
                                        input bit [BITS-1:0] data, input int bus_bytes);
`endif

  // ---- accelerator and memory -----------------------------------------------------------------
  logic [7:0] awaddr_l, araddr_l;
  logic awvalid_l = 0, wvalid_l = 0, arvalid_l = 0;
  logic awready_l, wready_l, bvalid_l, arready_l, rvalid_l;
  logic [31:0] wdata_l, rdata_l;
  logic interrupt;

  logic [39:0] araddr, awaddr;
  logic [7:0] arlen, awlen;
  logic [2:0] arsize, awsize;
  logic [1:0] arburst, awburst, rresp, bresp;
  logic [BITS-1:0] rdata, wdata;
  logic [`BUS_BYTES-1:0] wstrb;
  logic arid, rid, awid, bid;
  logic arvalid, arready, rvalid, rready, rlast;
  logic awvalid, awready, wvalid, wready, wlast, bvalid, bready;
  longint unsigned read_bytes, write_bytes;
  bit memory_rst = 1;

  moesaic_top dut (
      .clk(clk), .rst(rst), .interrupt(interrupt),
      .s_axi_control_awaddr(awaddr_l), .s_axi_control_awprot(3'd0),
      .s_axi_control_awvalid(awvalid_l), .s_axi_control_awready(awready_l),
      .s_axi_control_wdata(wdata_l), .s_axi_control_wstrb(4'hf),
      .s_axi_control_wvalid(wvalid_l), .s_axi_control_wready(wready_l),
      .s_axi_control_bresp(), .s_axi_control_bvalid(bvalid_l), .s_axi_control_bready(1'b1),
      .s_axi_control_araddr(araddr_l), .s_axi_control_arprot(3'd0),
      .s_axi_control_arvalid(arvalid_l), .s_axi_control_arready(arready_l),
      .s_axi_control_rdata(rdata_l), .s_axi_control_rresp(), .s_axi_control_rvalid(rvalid_l),
      .s_axi_control_rready(1'b1),
      .m_axi_gmem0_arid(arid), .m_axi_gmem0_araddr(araddr), .m_axi_gmem0_arlen(arlen),
      .m_axi_gmem0_arsize(arsize), .m_axi_gmem0_arburst(arburst),
      .m_axi_gmem0_arvalid(arvalid), .m_axi_gmem0_arready(arready), .m_axi_gmem0_rid(rid),
      .m_axi_gmem0_rdata(rdata), .m_axi_gmem0_rresp(rresp), .m_axi_gmem0_rlast(rlast),
      .m_axi_gmem0_rvalid(rvalid), .m_axi_gmem0_rready(rready),
      .m_axi_gmem1_awid(awid), .m_axi_gmem1_awaddr(awaddr), .m_axi_gmem1_awlen(awlen),
      .m_axi_gmem1_awsize(awsize), .m_axi_gmem1_awburst(awburst),
      .m_axi_gmem1_awvalid(awvalid), .m_axi_gmem1_awready(awready), .m_axi_gmem1_wdata(wdata),
      .m_axi_gmem1_wstrb(wstrb), .m_axi_gmem1_wlast(wlast), .m_axi_gmem1_wvalid(wvalid),
      .m_axi_gmem1_wready(wready), .m_axi_gmem1_bid(bid), .m_axi_gmem1_bresp(bresp),
      .m_axi_gmem1_bvalid(bvalid), .m_axi_gmem1_bready(bready)
  );
  axi_memory #(.BUS_BYTES(`BUS_BYTES)) memory (.rst(memory_rst), .*);

  // ---- monitors -------------------------------------------------------------------------------
  wire running = dut.processor.running;
  wire [UNITS-1:0] accepts = {
    dut.issue_vector.command__valid & dut.issue_vector.command__ready,
    dut.issue_stream.command__valid & dut.issue_stream.command__ready,
    dut.issue_stationary.command__valid & dut.issue_stationary.command__ready,
    dut.issue_store.command__valid & dut.issue_store.command__ready,
    dut.issue_load.command__valid & dut.issue_load.command__ready
  };
  wire [UNITS-1:0] dones = dut.processor.done_in;
  // Lines of K and V that enter the array as stationary operand, and rows that meet them.
  int key_lines = 0, value_lines = 0, kv_beats = 0;
`ifndef TRAINING
  wire kv_line = dut.array.line[`LINE_VALID] & dut.array.line[`LINE_KV];
  wire kv_beat = dut.array.beat[`BEAT_VALID] & (dut.array.beat[`BEAT_SCALE+:2] != 0);
`endif
  longint cycle = 0;
  longint quiet = 0, quiet_limit = 100000;
  always @(posedge clk) begin
    if (!running) begin
      cycle <= 0;
      quiet <= 0;
    end else begin
`ifndef TRAINING
      key_lines <= (cycle == 0 ? 0 : key_lines) + 32'(kv_line & ~dut.array.line[`LINE_ROW]);
      value_lines <= (cycle == 0 ? 0 : value_lines) + 32'(kv_line & dut.array.line[`LINE_ROW]);
      kv_beats <= (cycle == 0 ? 0 : kv_beats) + 32'(kv_beat);
`endif
      cycle <= cycle + 1;
      quiet <= (accepts != 0 || dones != 0 || rvalid || dut.stream.take) ? 0 : quiet + 1;
      for (int unit = 0; unit < UNITS; unit++) begin
        if (accepts[unit]) log_event(0, unit, cycle);
        if (dones[unit]) log_event(1, unit, cycle);
      end
`ifdef TRAINING
      // numbers of the memories are those of models.training.memories.Store; a write is a packed
      // struct: valid, slice (24 bits), an enable for each value, data
      if (dut.array.write_valid)
        log_write(4, 32'(dut.array.write_word), 0, LOG'(dut.array.write_data), 4 * `LANES);
      if (dut.vector.x_write[0])
        log_write(1, 32'(dut.vector.x_write[1+:24]), 32'(dut.vector.x_fill),
                  LOG'(dut.vector.x_write[25+`LANES+:`OPERANDS]), `OPERANDS / 8);
      if (dut.vector.v_write[0])
        log_write(5, 32'(dut.vector.v_write[1+:24]), 0,
                  LOG'(dut.vector.v_write[25+`LANES+:32*`LANES]), 4 * `LANES);
      if (dut.vector.s_write[0])
        log_write(7, 32'(dut.vector.s_write[1+:24]), 32'(dut.vector.s_write[25+:`LANES]),
                  LOG'(dut.vector.s_write[25+`LANES+:32*`LANES]), 4 * `LANES);
      if (dut.vector.k_write[0])
        log_write(8, 32'(dut.vector.k_write[1+:24]), 0,
                  LOG'(dut.vector.k_write[25+`LANES+:32*`LANES]), 4 * `LANES);
      if (dut.vector.line[0])
        log_write(2, 32'(dut.vector.line[1+:24]), 0, LOG'(dut.vector.line[25+`WORD+:`LINE]),
                  `LINE / 8);
      if (dut.vector.places[0])
        log_write(3, 32'(dut.vector.places[1+:24]), 0, LOG'(dut.vector.places[25+`WORD+:4*`WORD]),
                  `WORD / 2);
`else
      if (dut.array.write_valid != 0) begin
        log_array(32'(dut.array.write_valid), 32'(dut.array.write_dest),
                  32'(dut.array.write_word), 32'(dut.array.write_word1),
                  32'(dut.array.write_slice), dut.array.write_narrow, dut.array.write_wide,
                  `NARROW / 8, `WIDE / 8);
      end
`ifdef EXPERTS
      if (dut.vector.route__valid) begin
        log_route(32'(dut.vector.route__bank), 32'(dut.vector.route__row),
                  32'(dut.vector.route__expert), 32'(dut.vector.route__score));
      end
`endif
      if (dut.vector.write__valid) begin
        log_vector(32'(dut.vector.write__buffer), 32'(dut.vector.write__bank),
                   32'(dut.vector.write__word), 32'(dut.vector.write__sub),
                   dut.vector.write__narrow, dut.vector.write__wide, `VECTOR_NARROW / 8,
                   `VECTOR_WIDE / 8);
      end
      if (dut.vector.rowstat__valid) begin
        log_rowstat(32'(dut.vector.rowstat__bank), 32'(dut.vector.rowstat__row),
                    32'(dut.vector.rowstat__multiplier), 32'(dut.vector.rowstat__shift));
      end
      if (dut.load.write__valid && dut.load.write__buffer == 4'd10) begin
        log_load(32'(dut.load.write__buffer), 32'(dut.load.write__line), dut.load.write__data,
                 `BUS_BYTES);
      end
`endif
    end
  end

  // ---- host -----------------------------------------------------------------------------------
  // The host drives and looks at falling edges, where everything else holds still.
  task automatic write_register(input logic [7:0] address, input logic [31:0] data);
    @(negedge clk);
    awaddr_l  = address;
    wdata_l   = data;
    awvalid_l = 1;
    wvalid_l  = 1;
    #1;
    while (!awready_l) begin
      @(negedge clk);
      #1;
    end
    @(negedge clk);
    awvalid_l = 0;
    wvalid_l  = 0;
    while (!bvalid_l) @(negedge clk);
  endtask

  task automatic read_register(input logic [7:0] address, output logic [31:0] data);
    @(negedge clk);
    araddr_l  = address;
    arvalid_l = 1;
    #1;
    while (!arready_l) begin
      @(negedge clk);
      #1;
    end
    @(negedge clk);
    arvalid_l = 0;
    while (!rvalid_l) @(negedge clk);
    data = rdata_l;
  endtask

  function automatic string state(input string name, input bit valid, input bit busy,
                                  input bit waiting, input bit [15:0] count);
    return $sformatf("%s: %s, %0d done", name,
                     busy ? "at work" : valid ? "command offered" :
                     waiting ? "waits for other units" : "idle", count);
  endfunction

  task automatic report_hang();
    $display("HANG after cycle %0d (error register %0d)", cycle, dut.registers.error);
    $display("HANG %s", state("load", dut.issue_load.command__valid, dut.load.busy,
                              dut.issue_load.waiting, dut.processor.counts[15:0]));
    $display("HANG %s", state("store", dut.issue_store.command__valid, dut.store.busy,
                              dut.issue_store.waiting, dut.processor.counts[31:16]));
    $display("HANG %s", state("stationary", dut.issue_stationary.command__valid,
                              dut.stationary.busy, dut.issue_stationary.waiting,
                              dut.processor.counts[47:32]));
    $display("HANG %s%s", state("stream", dut.issue_stream.command__valid, dut.stream.busy,
                              dut.issue_stream.waiting, dut.processor.counts[63:48]),
             dut.stream.starved ? ", waits for weights" : "");
    $display("HANG %s", state("vector", dut.issue_vector.command__valid, dut.vector.busy,
                              dut.issue_vector.waiting, dut.processor.counts[79:64]));
  endtask

  initial begin
    int runs, fields, latency, seed, result;
    longint program_address, rate_num, rate_den, limit, waited;
    longint unsigned first_read, first_write;
    real stall;
    string name, image, dump_file, prefix;
    logic [31:0] low, high;
    bit hang;
    void'($value$plusargs("runs=%s", name));
    void'($value$plusargs("logs=%s", prefix));
    void'($value$plusargs("quiet=%d", quiet_limit));
    log_open(prefix);
    runs = $fopen(name, "r");
    repeat (4) @(posedge clk);
    rst <= 0;
    forever begin
      fields = $fscanf(runs, "%s %s %d %d %d %d %f %d %d", image, dump_file, program_address,
                       latency, rate_num, rate_den, stall, seed, limit);
      if (fields != 9) break;
      memory.configure(latency, latency, rate_num, rate_den, stall, seed);
      memory.reload(image, 0);
      memory_rst <= 1;
      repeat (4) @(posedge clk);
      memory_rst <= 0;
      repeat (4) @(posedge clk);
      first_read = read_bytes;
      first_write = write_bytes;
      write_register(8'h0c, 1);
      write_register(8'h10, program_address[31:0]);
      write_register(8'h14, program_address[63:32]);
      write_register(8'h00, 1);
      hang = 0;
      waited = 0;
      while (!interrupt && !hang) begin
        @(negedge clk);
        hang = !interrupt && (waited > quiet_limit && !running || quiet > quiet_limit || cycle > limit);
        waited++;
      end
      if (hang) report_hang();
      read_register(8'h18, low);
      read_register(8'h1c, high);
      log_run(32'(hang), {high, low}, read_bytes - first_read, write_bytes - first_write, key_lines,
              value_lines, kv_beats);
      if (dump_file != "-") memory.dump(dump_file);
      if (hang) break;
      write_register(8'h00, 2);
    end
    finished <= 1;
    repeat (2) @(posedge clk);
  end
endmodule
