// AXI4 rules that the project's masters must keep, counted where they are broken.
//
// Payloads and VALID stay until READY; bursts are INCR of full beats, at most BURST_BEATS long,
// within 4 KiB, with aligned addresses; WLAST stands on the last beat and nowhere else; no write
// data runs ahead of its address; at most OUTSTANDING bursts are in flight on each side.

/* verilator lint_off BLKSEQ */
module axi_checker #(
    parameter int BUS_BYTES = 8,
    parameter int ADDRESS_BITS = 40,
    parameter int BURST_BEATS = 16,
    parameter int OUTSTANDING = 4
) (
    input  logic                    clk,
    input  logic                    rst,
    input  logic [ADDRESS_BITS-1:0] araddr,
    input  logic [             7:0] arlen,
    input  logic [             2:0] arsize,
    input  logic [             1:0] arburst,
    input  logic                    arvalid,
    input  logic                    arready,
    input  logic                    rlast,
    input  logic                    rvalid,
    input  logic                    rready,
    input  logic [ADDRESS_BITS-1:0] awaddr,
    input  logic [             7:0] awlen,
    input  logic [             2:0] awsize,
    input  logic [             1:0] awburst,
    input  logic                    awvalid,
    input  logic                    awready,
    input  logic [ 8*BUS_BYTES-1:0] wdata,
    input  logic [   BUS_BYTES-1:0] wstrb,
    input  logic                    wlast,
    input  logic                    wvalid,
    input  logic                    wready,
    input  logic                    bvalid,
    input  logic                    bready,
    output int                      violations
);
  localparam logic [2:0] SIZE = 3'($clog2(BUS_BYTES));

  task automatic require(input logic holds, input string rule);
    if (!holds) begin
      violations++;
      if (violations < 20) $display("AXI: %s at %0t", rule, $time);
    end
  endtask

  task automatic burst_rules(input logic [ADDRESS_BITS-1:0] address, input logic [7:0] len,
                             input logic [2:0] size, input logic [1:0] burst);
    automatic int bytes = (int'(len) + 1) * BUS_BYTES;
    require(burst == 2'b01, "a burst is not INCR");
    require(size == SIZE, "a beat is not of full width");
    require(int'(len) < BURST_BEATS, "a burst is too long");
    require(int'(address[11:0]) + bytes <= 4096, "a burst crosses 4 KiB");
    require(int'(address[11:0]) % BUS_BYTES == 0, "an address is not aligned");
  endtask

  logic ar_held, aw_held, w_held;
  logic [ADDRESS_BITS+12:0] ar_before, aw_before;
  logic [9*BUS_BYTES:0] w_before;
  wire [ADDRESS_BITS+12:0] ar_now = {araddr, arlen, arsize, arburst};
  wire [ADDRESS_BITS+12:0] aw_now = {awaddr, awlen, awsize, awburst};
  wire [9*BUS_BYTES:0] w_now = {wdata, wstrb, wlast};

  int reads, writes;
  int lengths[$];
  int beat;

  always @(posedge clk) begin
    if (rst) begin
      {ar_held, aw_held, w_held} = '0;
      violations = 0;
      reads      = 0;
      writes     = 0;
      beat       = 0;
      lengths.delete();
    end else begin
      if (ar_held) require(arvalid && ar_now == ar_before, "ARVALID or its payload changed");
      if (aw_held) require(awvalid && aw_now == aw_before, "AWVALID or its payload changed");
      if (w_held) require(wvalid && w_now == w_before, "WVALID or its payload changed");
      ar_held   = arvalid && !arready;
      aw_held   = awvalid && !awready;
      w_held    = wvalid && !wready;
      ar_before = ar_now;
      aw_before = aw_now;
      w_before  = w_now;

      if (arvalid && arready) begin
        burst_rules(araddr, arlen, arsize, arburst);
        reads++;
        require(reads <= OUTSTANDING, "too many read bursts in flight");
      end
      if (rvalid && rready && rlast) reads--;
      require(reads >= 0, "a read burst ends that never began");

      if (awvalid && awready) begin
        burst_rules(awaddr, awlen, awsize, awburst);
        writes++;
        require(writes <= OUTSTANDING, "too many write bursts in flight");
        lengths.push_back(int'(awlen));
      end
      if (wvalid && wready) begin
        require(lengths.size() != 0, "data runs ahead of its address");
        require(&wstrb, "a strobe is low");
        if (lengths.size() != 0) begin
          require(wlast == (beat == lengths[0]), "WLAST is not on the last beat");
          beat++;
          if (wlast) begin
            beat = 0;
            void'(lengths.pop_front());
          end
        end
      end
      if (bvalid && bready) writes--;
      require(writes >= 0, "a response to no burst");
    end
  end
endmodule
/* verilator lint_on BLKSEQ */
