export PYTHONPATH=/tmp/site:$PWD OMP_NUM_THREADS=4 TRITON_CACHE_DIR=/tmp/tcache
mkdir -p /tmp/tcache; tar xzf .tcache/triton.tgz -C /tmp/tcache
D="python3 benchmarks/defaults_gpu.py --data .data/coco_mini --out $OUT/defaults.json"
g() { n=$1; t=$2; shift 2; K=""; [ -f $OUT/defaults.json ] && K="--keep"; timeout $t $D $K --rows "$@" > $OUT/$n.txt 2>&1; grep -a ", [0-9]* s: " $OUT/$n.txt | cut -c1-330; }
g a 88 vmamba_t_rtmdet-8 vmamba_t_yolox-8 vmamba_t_dfl-8 mamba_yolo_t-8 mamba_yolo_t-640 mask_rcnn_vmamba_t-float16
g b 50 vmamba_t-128 mambavision_t-128 vmamba_t-800 vmamba_t-1 mambavision_t-1 efficientvmamba_t-1
g c 85 files
ls $OUT
