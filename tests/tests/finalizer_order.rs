//! When finalizers run does not depend on how a run is cut into slices, also where collections come in the middle of native functions, in which
//! no finalizer can run.

use cu_tests::{Conditions, run};

/// Programs whose garbage dies while native functions call native functions; each shows when its finalizers ran.
const PROGRAMS: &[&str] = &[
    "local text = (('x'):rep(60) .. ' '):rep(300)
     local n, log = 0, {}
     local meta = {__gc = function() log[#log + 1] = n end}
     local function drop() for i = 1, 20 do setmetatable({}, meta) end end
     for round = 1, 30 do
       drop()
       n = n + 1
       text:gsub('%a+', string.upper)
       for i = 1, 50 do n = n + 1 end
     end
     print(#log, table.concat(log, ' '))",
    "local n, log = 0, {}
     local meta = {__gc = function() log[#log + 1] = n end}
     local lists = setmetatable({}, {__index = table.pack})
     for round = 1, 30 do
       for i = 1, 20 do setmetatable({}, meta) end
       for i = 1, 400 do local x = lists[i] n = n + 1 end
       pcall(pcall, pcall, string.rep, 'y', 3000)
     end
     print(#log, table.concat(log, ' '))",
    "local n, log = 0, {}
     local meta = {__gc = function() log[#log + 1] = n end}
     local texts = {}
     for i = 1, 200 do texts[i] = setmetatable({i % 7}, {__tostring = function() return 'text' end, __lt = rawequal}) end
     for round = 1, 20 do
       for i = 1, 20 do setmetatable({}, meta) end
       pcall(table.sort, texts)
       for i = 1, 100 do local t = table.pack(table.unpack(texts)) n = n + 1 end
     end
     print(#log, table.concat(log, ' '))",
];

#[test]
fn slices_make_no_difference() {
    for program in PROGRAMS {
        let outcome = |slice| {
            let conditions = Conditions { slice, steps_max: 10_000_000, ..Conditions::default() };
            run(program.as_bytes(), "@program.lua", conditions).expect("it ends")
        };
        let whole = outcome(1_000_000_000);
        assert_eq!(whole.error, None);
        assert!(whole.output.len() > 500, "finalizers ran: {}", String::from_utf8_lossy(&whole.output));
        for slice in [1, 2, 7, 101, 5_000] {
            let cut = outcome(slice);
            assert_eq!(
                String::from_utf8_lossy(&cut.output),
                String::from_utf8_lossy(&whole.output),
                "slices of {slice}"
            );
            assert_eq!(cut.fuel, whole.fuel, "slices of {slice}");
        }
    }
}
