# $1: seconds for compiling, then groups
export PYTHONPATH=/tmp/site:$PWD OMP_NUM_THREADS=4 TRITON_CACHE_DIR=/tmp/tcache
mkdir -p /tmp/tcache; [ -f .tcache/triton.tgz ] && tar xzf .tcache/triton.tgz -C /tmp/tcache
S=$1; shift
for g in "$@"; do OMP_NUM_THREADS=1 timeout $S python3 benchmarks/defaults_gpu.py --data .data/coco_mini --rows $g > /tmp/pre_$g.txt 2>&1 & done; wait
for g in "$@"; do echo "== pre $g"; grep -a ", [0-9]* s: " /tmp/pre_$g.txt | grep -a failed | cut -c1-250; done
K=""
for g in "$@"; do timeout ${T:-90} python3 benchmarks/defaults_gpu.py --data .data/coco_mini --rows $g --out $OUT/defaults.json $K > $OUT/$g.txt 2>&1; K="--keep"; grep -a ", [0-9]* s: " $OUT/$g.txt | cut -c1-420; [ -f $OUT/defaults.json ] || K=""; done
tar czf $OUT/triton.tgz -C /tmp/tcache . ; ls -la $OUT | head -20
