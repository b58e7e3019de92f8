// DSP48E2 as far as the netlists use it: a multiplier, its registers, and the sum with C or PCIN.
// Any other setting ends the simulation. After the DSP slice user guide of the UltraScale family
// (UG579: attributes, OPMODE tables), not after anybody's simulation model.
module DSP48E2 #(
    parameter ACASCREG = 1, ADREG = 1, ALUMODEREG = 1, AREG = 1, BCASCREG = 1, BREG = 1,
    parameter CARRYINREG = 1, CARRYINSELREG = 1, CREG = 1, DREG = 1, INMODEREG = 1,
    parameter MREG = 1, OPMODEREG = 1, PREG = 1,
    parameter A_INPUT = "DIRECT", B_INPUT = "DIRECT", AMULTSEL = "A", BMULTSEL = "B",
    parameter USE_MULT = "MULTIPLY", USE_SIMD = "ONE48"
) (
    input CLK,
    input [29:0] A, ACIN,
    input [17:0] B, BCIN,
    input [47:0] C, PCIN,
    input [26:0] D,
    input [8:0] OPMODE,
    input [4:0] INMODE,
    input [3:0] ALUMODE,
    input [2:0] CARRYINSEL,
    input CARRYIN,
    input CEA1, CEA2, CEB1, CEB2, CEC, CEM, CEP, CED, CEAD,
    input RSTA, RSTB, RSTC, RSTM, RSTP, RSTD,
    output [47:0] P, PCOUT
);
  initial begin
    if (A_INPUT != "DIRECT" || B_INPUT != "DIRECT") $fatal(1, "operand from a cascade");
    if (AMULTSEL != "A" || BMULTSEL != "B") $fatal(1, "pre-adder");
    if (USE_MULT != "MULTIPLY" || USE_SIMD != "ONE48") $fatal(1, "no multiplier, or SIMD");
    if (ALUMODEREG || OPMODEREG || INMODEREG || CARRYINSELREG) $fatal(1, "control registers");
    #1 if (ALUMODE != 0 || INMODE != 0 || CARRYINSEL != 0 || CARRYIN) $fatal(1, "control inputs");
    if (OPMODE[8:7] != 0 || OPMODE[3:0] != 4'b0101) $fatal(1, "W, X or Y is not the product's");
    if (OPMODE[6:4] != 0 && OPMODE[6:4] != 1 && OPMODE[6:4] != 3) $fatal(1, "Z is not 0, PCIN, C");
  end

  wire signed [26:0] a;
  wire signed [17:0] b;
  wire signed [44:0] product;
  wire [47:0] c, z, sum;
  wire signed [44:0] multiplied;
  assign multiplied = a * b;
  assign z = OPMODE[6:4] == 1 ? PCIN : OPMODE[6:4] == 3 ? c : 48'd0;
  assign sum = z + 48'(product);
  assign PCOUT = P;

  dsp48e2_register #(27, AREG) a_register (
      .CLK, .first(CEA1), .ce(CEA2), .rst(RSTA), .d(A[26:0]), .q(a));
  dsp48e2_register #(18, BREG) b_register (
      .CLK, .first(CEB1), .ce(CEB2), .rst(RSTB), .d(B), .q(b));
  dsp48e2_register #(48, CREG) c_register (
      .CLK, .first(0), .ce(CEC), .rst(RSTC), .d(C), .q(c));
  dsp48e2_register #(45, MREG) m_register (
      .CLK, .first(0), .ce(CEM), .rst(RSTM), .d(multiplied), .q(product));
  dsp48e2_register #(48, PREG) p_register (
      .CLK, .first(0), .ce(CEP), .rst(RSTP), .d(sum), .q(P));
endmodule

// As many registers as STAGES says, 0 to 2; `first` enables the first of two.
module dsp48e2_register #(parameter WIDTH = 1, parameter STAGES = 1) (
    input CLK, first, ce, rst,
    input [WIDTH-1:0] d,
    output [WIDTH-1:0] q
);
  reg [WIDTH-1:0] early = 0, late = 0;
  always @(posedge CLK) begin
    if (rst) early <= 0;
    else if (first) early <= d;
    if (rst) late <= 0;
    else if (ce) late <= STAGES == 2 ? early : d;
  end
  assign q = STAGES == 0 ? d : late;
endmodule
