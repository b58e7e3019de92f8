// The standard memory with wires that a test may drive, the clock too.

module axi_memory_bench;
  localparam int BUS_BYTES = 8;
  bit clk /* verilator public_flat_rw */ = 0;
  bit rst /* verilator public_flat_rw */ = 1;

  logic [39:0] m_axi_araddr /* verilator public_flat_rw */;
  logic [7:0] m_axi_arlen /* verilator public_flat_rw */;
  logic [2:0] m_axi_arsize /* verilator public_flat_rw */;
  logic [1:0] m_axi_arburst /* verilator public_flat_rw */;
  logic m_axi_arid /* verilator public_flat_rw */;
  logic m_axi_arvalid /* verilator public_flat_rw */;
  logic m_axi_arready /* verilator public_flat_rw */;
  logic m_axi_rid /* verilator public_flat_rw */;
  logic [8*BUS_BYTES-1:0] m_axi_rdata /* verilator public_flat_rw */;
  logic [1:0] m_axi_rresp /* verilator public_flat_rw */;
  logic m_axi_rlast /* verilator public_flat_rw */;
  logic m_axi_rvalid /* verilator public_flat_rw */;
  logic m_axi_rready /* verilator public_flat_rw */;
  logic [39:0] m_axi_awaddr /* verilator public_flat_rw */;
  logic [7:0] m_axi_awlen /* verilator public_flat_rw */;
  logic [2:0] m_axi_awsize /* verilator public_flat_rw */;
  logic [1:0] m_axi_awburst /* verilator public_flat_rw */;
  logic m_axi_awid /* verilator public_flat_rw */;
  logic m_axi_awvalid /* verilator public_flat_rw */;
  logic m_axi_awready /* verilator public_flat_rw */;
  logic [8*BUS_BYTES-1:0] m_axi_wdata /* verilator public_flat_rw */;
  logic [BUS_BYTES-1:0] m_axi_wstrb /* verilator public_flat_rw */;
  logic m_axi_wlast /* verilator public_flat_rw */;
  logic m_axi_wvalid /* verilator public_flat_rw */;
  logic m_axi_wready /* verilator public_flat_rw */;
  logic m_axi_bid /* verilator public_flat_rw */;
  logic [1:0] m_axi_bresp /* verilator public_flat_rw */;
  logic m_axi_bvalid /* verilator public_flat_rw */;
  logic m_axi_bready /* verilator public_flat_rw */;
  longint unsigned read_bytes /* verilator public_flat_rw */;
  longint unsigned write_bytes /* verilator public_flat_rw */;

  axi_memory #(
      .BUS_BYTES(BUS_BYTES)
  ) memory (
      .clk(clk),
      .rst(rst),
      .arid(m_axi_arid),
      .araddr(m_axi_araddr),
      .arlen(m_axi_arlen),
      .arvalid(m_axi_arvalid),
      .arready(m_axi_arready),
      .rid(m_axi_rid),
      .rdata(m_axi_rdata),
      .rresp(m_axi_rresp),
      .rlast(m_axi_rlast),
      .rvalid(m_axi_rvalid),
      .rready(m_axi_rready),
      .awid(m_axi_awid),
      .awaddr(m_axi_awaddr),
      .awlen(m_axi_awlen),
      .awvalid(m_axi_awvalid),
      .awready(m_axi_awready),
      .wdata(m_axi_wdata),
      .wstrb(m_axi_wstrb),
      .wlast(m_axi_wlast),
      .wvalid(m_axi_wvalid),
      .wready(m_axi_wready),
      .bid(m_axi_bid),
      .bresp(m_axi_bresp),
      .bvalid(m_axi_bvalid),
      .bready(m_axi_bready),
      .read_bytes(read_bytes),
      .write_bytes(write_bytes)
  );
endmodule
