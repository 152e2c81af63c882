"""Every key that mestad_d2 adds to detectron2's config, with meaning, unit and source.

Sources: "paper" is ME-STAD (arXiv 2206.02987); "release" is the public code of the same
method under its later name SE-STAD; "ours" is a choice where both are silent.
"""

from __future__ import annotations

from detectron2.config import CfgNode as CN

from mestad_d2.config_files import PROPOSAL_KEYS


def add_mestad_config(cfg: CN) -> None:
    """Add the keys of mestad_d2 to a detectron2 config, in place.

    Args:
        cfg: the node that ``detectron2.config.get_cfg()`` returns.
    """
    _add_input(cfg)
    _add_backbone(cfg)
    _add_fcos(cfg)
    _add_proposals(cfg)
    _add_gfocal(cfg)
    _add_sparse_rcnn(cfg)
    _add_action_head(cfg)
    _add_other_heads(cfg)
    _add_person_detector(cfg)
    _add_solver(cfg)
    _add_semisup(cfg)
    _add_test(cfg)


def _add_input(cfg: CN) -> None:
    # Clips. Frame i of a clip lies (i - NUM_FRAMES // 2) * SAMPLING_RATE / FPS seconds from the
    # key frame, whatever the frame rate of the file; times outside the video are clamped.
    cfg.INPUT.CLIP = CN()
    # Frames in a clip (paper: 32 for 8x8 models, 4 for SlowOnly 4x16).
    cfg.INPUT.CLIP.NUM_FRAMES = 32
    # Distance of two frames of a clip, in frames at INPUT.CLIP.FPS (paper: 2; 4x16: 16).
    cfg.INPUT.CLIP.SAMPLING_RATE = 2
    # Frames per second in which SAMPLING_RATE counts (AVA is used at 30).
    cfg.INPUT.CLIP.FPS = 30.0
    # Move every training frame by a random time of its own, -1 or 0 frames at SAMPLING_RATE 2; in general from
    # -(SAMPLING_RATE / 2) on and below (SAMPLING_RATE + 1) / 2, both rounded down (release: True; paper: silent).
    cfg.INPUT.CLIP.TIME_JITTER = False
    # Take the frames that AVA's own recipe takes, `ffmpeg -ss GRID_START` and then `-r GRID_RATE`: 30.0; 0: the frames
    # nearest in time (ours). For films read by training and evaluation; docs/videos.md has the differences. GRID_START is
    # a timestamp of the annotations, in s; files that begin later are taken to be cut (AVA: 900).
    cfg.INPUT.CLIP.GRID_RATE = 0.0
    cfg.INPUT.CLIP.GRID_START = 900.0
    # Repeat the key frame instead of sampling: a control that measures the value of motion (ours).
    cfg.INPUT.CLIP.STILL = False
    # How frames are resized: "area", which averages the pixels that become one (ours), or "bilinear" from the full
    # picture without that average, cv2's INTER_LINEAR (release, PySlowFast, mmaction2); docs/weights.md.
    cfg.INPUT.CLIP.RESIZE = "area"
    # Brightness, contrast, saturation (factors 1 +- x) and hue (+- x turns), one draw a clip; zeros
    # turn it off (release: 0.4, 0.4, 0.4, 0.1).
    cfg.INPUT.CLIP.COLOR_JITTER = [0.4, 0.4, 0.4, 0.1]
    # Random zoom of the clip before the crop, as a factor range; [1, 1] turns it off (ours).
    # The paper's scale augmentation is INPUT.MIN_SIZE_TRAIN with "range" sampling.
    cfg.INPUT.CLIP.SCALE_RANGE = [1.0, 1.0]
    # Boxes whose visible share after the crop is below this are dropped; those without area
    # always are (ours; the release keeps empty ones).
    cfg.INPUT.CLIP.MIN_VISIBLE = 0.0
    # Decoded training clips that each loader process keeps, in MB; 0: none. Small datasets are decoded
    # once instead of every epoch (ours).
    cfg.INPUT.CLIP.CACHE_MB = 0
    # Folder into which each video file is decoded whole when it is first used, for all processes and later
    # runs; "": none. For small datasets: 10 s of 160x128 at 30 fps take 18 MB (ours).
    cfg.INPUT.CLIP.DECODED_DIR = ""
    # In the first COARSE_ITERS iterations labelled clips keep every COARSE_STRIDE-th of their frames, the key
    # frame among them: a step costs that much less while people and poses are learned (after the long cycle
    # of multigrid training, arXiv 1912.00998; ours).
    cfg.INPUT.CLIP.COARSE_ITERS = 0
    cfg.INPUT.CLIP.COARSE_STRIDE = 2
    # What to do with a video that can't be read: "raise" or "skip" (skip and report).
    cfg.INPUT.CLIP.ON_ERROR = "raise"
    # Share of clips that "skip" may lose before training stops anyway (ours).
    cfg.INPUT.CLIP.MAX_SKIPPED = 0.01


def _add_backbone(cfg: CN) -> None:
    # Slow and fast pathways, built of pytorchvideo's parts (MODEL.BACKBONE.NAME
    # "build_slow_backbone" or "build_slowfast_backbone").
    cfg.MODEL.VIDEO_RESNET = CN()
    # 50 or 101: blocks a stage (3, 4, 6, 3) or (3, 4, 23, 3).
    cfg.MODEL.VIDEO_RESNET.DEPTH = 50
    # Blocks of the four stages; empty: those of DEPTH. Small models set it.
    cfg.MODEL.VIDEO_RESNET.STAGE_BLOCKS = []
    # Channels of the (slow) stem; stage k has 4 * WIDTH * 2 ** k (paper: 64).
    cfg.MODEL.VIDEO_RESNET.WIDTH = 64
    # Temporal kernel of the slow pathway: stem, res2..res5 (SlowFast paper: 1, 1, 1, 3, 3). A list in place of a
    # number is repeated over the stage's blocks (I3D: 5, 3, [3, 1], [3, 1], [1, 3]).
    cfg.MODEL.VIDEO_RESNET.TEMPORAL_KERNELS = [1, 1, 1, 3, 3]
    # Frames that max pooling joins after res2, slow-only models (C2D and I3D: 2; 1: no pooling).
    cfg.MODEL.VIDEO_RESNET.TEMPORAL_POOL = 1
    # Only the first N blocks of a stage are temporal, in both pathways; -1: all (PySlowFast's R101-NL:
    # 6 of res4's 23).
    cfg.MODEL.VIDEO_RESNET.TEMPORAL_BLOCKS = [-1, -1, -1, -1]
    # What convolutions over time see before a clip's first step and after its last: "zeros" (paper) or "repeat", that
    # step repeated, which is nearer to the film that they see there in one pass (ours; effect on mAP not measured).
    cfg.MODEL.VIDEO_RESNET.TEMPORAL_PADDING = "zeros"
    # "BN" trainable (paper), "FrozenBN" (3-D too) or "SyncBN" (several processes: on GPUs only).
    cfg.MODEL.VIDEO_RESNET.NORM = "BN"
    # Spatial stride of res5: 1 keeps stride 16 for ROIAlign (release); 2 is the classifier's.
    cfg.MODEL.VIDEO_RESNET.RES5_STRIDE = 1
    # Dilation of res5 in the slow pathway (release: 2); the fast one has FAST_RES5_DILATION.
    cfg.MODEL.VIDEO_RESNET.RES5_DILATION = 2

    cfg.MODEL.SLOWFAST = CN()
    # Fast frames per slow frame (SlowFast paper: 4 for 8x8).
    cfg.MODEL.SLOWFAST.ALPHA = 4
    # Frames of the slow pathway: "stride", every ALPHA-th from the first on, so that its index T // 2 is the key
    # frame (paper, release), or "linspace", evenly spread from the first to the last (PySlowFast, pytorchvideo).
    cfg.MODEL.SLOWFAST.SLOW_SAMPLING = "stride"
    # Slow channels per fast channel (SlowFast paper: 8).
    cfg.MODEL.SLOWFAST.BETA_INV = 8
    # Temporal kernel of the lateral connections (pytorchvideo and R50: 7; R101-NL: 5).
    cfg.MODEL.SLOWFAST.FUSION_KERNEL = 7
    # Channels of a lateral connection, per channel of the fast pathway (SlowFast paper: 2).
    cfg.MODEL.SLOWFAST.FUSION_RATIO = 2
    # Norm and ReLU in the lateral connections (SlowFast's own code, pytorchvideo, mmaction2 with lateral_norm:
    # both; release and mmaction2's default: neither).
    cfg.MODEL.SLOWFAST.FUSION_NORM = True
    cfg.MODEL.SLOWFAST.FUSION_RELU = True
    # Temporal kernel of the fast pathway: stem, res2..res5 (SlowFast paper: 5, 3, 3, 3, 3).
    cfg.MODEL.SLOWFAST.FAST_TEMPORAL_KERNELS = [5, 3, 3, 3, 3]
    # Dilation of res5 in the fast pathway (release: 1; pytorchvideo's detection builder: 2).
    cfg.MODEL.SLOWFAST.FAST_RES5_DILATION = 1

    # Non-local blocks on the slow pathway (PySlowFast's AVA config of R101-NL).
    cfg.MODEL.NONLOCAL = CN()
    # For each of res2..res5, the blocks after which one stands (R101-NL: res4 after 6, 13, 20).
    cfg.MODEL.NONLOCAL.LOCATIONS = [[], [], [], []]
    # "dot_product" or "softmax".
    cfg.MODEL.NONLOCAL.INSTANTIATION = "dot_product"
    # Max pooling of keys and values: T, H, W (PySlowFast on AVA: 2, 2, 2; on Kinetics and mmaction2: 1, 2, 2).
    cfg.MODEL.NONLOCAL.POOL = [2, 2, 2]
    # Pool before the convolutions of keys and values (PySlowFast) or after them (mmaction2).
    cfg.MODEL.NONLOCAL.POOL_FIRST = True

    # Backbones of other libraries (MODEL.BACKBONE.NAME "build_x3d_backbone", "build_mvit_backbone",
    # "build_swin_backbone", "build_hiera_backbone", "build_vivit_backbone", "build_videomae_backbone",
    # "build_vjepa2_backbone"). X3D also uses VIDEO_RESNET's NORM, TEMPORAL_PADDING and res5 keys.
    cfg.MODEL.VIDEO_BACKBONE = CN()
    # Which member of the family: X3D "xs", "s", "m", "l"; MViT "v1_b" (16 frames), "v1_b_32", "v1_b24_32"
    # (24 blocks), "v2_s", "v2_b" (32 frames); Video-Swin "t", "s", "b", "l"; Hiera "b", "b+", "l", "h"; ViViT "b";
    # VideoMAE "s", "b", "l", "h", "g" (v2); V-JEPA 2 "l", "h", "g".
    cfg.MODEL.VIDEO_BACKBONE.VARIANT = ""
    # Channels of the first stage (X3D: of the stem; ViViT: of all layers); 0: the variant's.
    cfg.MODEL.VIDEO_BACKBONE.WIDTH = 0
    # Blocks of res2..res5 (ViViT: their sum is its depth; X3D: the variant's at most); empty: the variant's.
    cfg.MODEL.VIDEO_BACKBONE.STAGE_BLOCKS = []
    # X3D: a norm in the first shortcut of res2, which keeps the channels (PySlowFast; pytorchvideo has none there).
    cfg.MODEL.VIDEO_BACKBONE.SHORTCUT_NORM = False
    # MViT, Video-Swin, Hiera, VideoMAE, V-JEPA 2: rate at which training drops the last block's branches, from 0 at
    # the first (mmaction2's VideoMAE: 0.2).
    cfg.MODEL.VIDEO_BACKBONE.DROP_PATH = 0.0
    # MViT, Hiera, VideoMAE, V-JEPA 2: first blocks (with all before them) that are not trained; -1: the whole
    # transformer.
    cfg.MODEL.VIDEO_BACKBONE.FROZEN_BLOCKS = 0
    # Hiera, VideoMAE: recompute blocks in the backward pass in place of keeping their activations.
    cfg.MODEL.VIDEO_BACKBONE.CHECKPOINTING = False

    # A small 2-D network on the key frame's pixels, whose maps the FPN takes beside the backbone's: a person head that
    # is trained onto a frozen backbone learns with it (ours; tools/graft.py).
    cfg.MODEL.FPN.KEYFRAME_PATH = CN()
    # Channels at stride 2, a multiple of 8, doubled at each further stride; 0: no such network.
    cfg.MODEL.FPN.KEYFRAME_PATH.WIDTH = 0
    # Residual blocks of two 3x3 convolutions at each stride from 4 on.
    cfg.MODEL.FPN.KEYFRAME_PATH.BLOCKS = 1
    # "BN", "SyncBN" or "GN" (for fewer than about 4 clips a GPU).
    cfg.MODEL.FPN.KEYFRAME_PATH.NORM = "BN"

    # Keep 3-D convolutions in the channels-last layout: 1.2-1.4 times as fast on CPUs (ours).
    cfg.MODEL.CHANNELS_LAST = False
    # Initialise FPN and heads as the paper does; False: PyTorch's defaults, the prior of the person score
    # included (release, where no initialisation is ever called).
    cfg.MODEL.PAPER_INIT = True
    # Load weights although some of the backbone's tensors are not in the file.
    cfg.MODEL.WEIGHTS_ALLOW_MISSING = False
    # Put the weights of a slow-only model into the slow pathway of SlowFast.
    cfg.MODEL.WEIGHTS_SLOW_INTO_SLOWFAST = False


def _add_fcos(cfg: CN) -> None:
    cfg.MODEL.FCOS = CN()
    # FPN levels that the head uses; strides come from the FPN.
    cfg.MODEL.FCOS.IN_FEATURES = ["p3", "p4", "p5"]
    # 3x3 convolutions of either tower, and their channels (paper: FCOS, so 4 and 256).
    cfg.MODEL.FCOS.NUM_CONVS = 4
    cfg.MODEL.FCOS.CONV_DIM = 256
    # Norm of the towers: "GN" (32 groups, fewer where channels are fewer) or "" (release: GN).
    cfg.MODEL.FCOS.NORM = "GN"
    # Upper ends of the regression ranges of all levels but the last, in pixels (FCOS; the last
    # level is open). With one more, the last level ends too (release: 64, 128, 256).
    cfg.MODEL.FCOS.SIZES_OF_INTEREST = [64, 128]
    # Centre sampling and its radius in strides (paper: with; FCOS: 1.5).
    cfg.MODEL.FCOS.CENTER_SAMPLING = True
    cfg.MODEL.FCOS.CENTER_SAMPLING_RADIUS = 1.5
    # Distances are divided by the stride and passed through ReLU ("norm on box"); False: exp.
    cfg.MODEL.FCOS.NORM_REG_TARGETS = True
    # Centerness branch on the box tower; False: on the class tower (plain FCOS).
    cfg.MODEL.FCOS.CENTERNESS_ON_REG = True
    # "centerness" (paper) or "iou" (release: the IoU of the predicted box).
    cfg.MODEL.FCOS.CENTERNESS_TARGET = "centerness"
    # "giou" (paper, Eq. 1) or "iou" (plain FCOS).
    cfg.MODEL.FCOS.LOC_LOSS = "giou"
    # Focal loss of the person class (RetinaNet's values) and the prior it starts from.
    cfg.MODEL.FCOS.FOCAL_ALPHA = 0.25
    cfg.MODEL.FCOS.FOCAL_GAMMA = 2.0
    cfg.MODEL.FCOS.PRIOR_PROB = 0.01
    # Weight of the localisation losses L_al (paper, section 4.1: 1).
    cfg.MODEL.FCOS.LOSS_WEIGHT = 1.0
    # Former names of MODEL.PROPOSALS.*; a value here is moved there, with a warning.
    for key in PROPOSAL_KEYS:
        cfg.MODEL.FCOS[key] = None


def _add_proposals(cfg: CN) -> None:
    # Which boxes of any proposal generator become proposals, so that Table 2 compares heads alone.
    cfg.MODEL.PROPOSALS = CN()
    # Class score (no centerness) below which a location is no proposal (paper: 0.3 / 0.4).
    cfg.MODEL.PROPOSALS.SCORE_THRESH_TRAIN = 0.3
    cfg.MODEL.PROPOSALS.SCORE_THRESH_TEST = 0.4
    # IoU of NMS on sqrt(class x centerness); 1.0 or more: no NMS (paper: none / 0.3).
    cfg.MODEL.PROPOSALS.NMS_THRESH_TRAIN = 1.0
    cfg.MODEL.PROPOSALS.NMS_THRESH_TEST = 0.3
    # Locations kept a level before NMS (ours), and proposals kept a clip (paper: 100 / 10).
    cfg.MODEL.PROPOSALS.PRE_NMS_TOPK = 1000
    cfg.MODEL.PROPOSALS.POST_NMS_TOPK_TRAIN = 100
    cfg.MODEL.PROPOSALS.POST_NMS_TOPK_TEST = 10


def _add_gfocal(cfg: CN) -> None:
    # Generalized Focal Loss V2, anchor-based (Table 2; "GFocalProposals"); values of its paper. Levels,
    # towers and prior are those of MODEL.FCOS, so that Table 2 compares heads alone.
    cfg.MODEL.GFOCAL = CN()
    # Distances are distributions over 0, 1, ..., REG_MAX strides.
    cfg.MODEL.GFOCAL.REG_MAX = 16
    # Side of the one square anchor of a cell in strides, and candidate anchors a level for ATSS.
    cfg.MODEL.GFOCAL.ANCHOR_SCALE = 8
    cfg.MODEL.GFOCAL.ATSS_TOPK = 9
    # Quality estimator: number of largest probabilities per side that it takes, and its hidden channels.
    cfg.MODEL.GFOCAL.QUALITY_TOPK = 4
    cfg.MODEL.GFOCAL.QUALITY_DIM = 64
    # Exponent of the quality focal loss, and weights of the three losses.
    cfg.MODEL.GFOCAL.QFL_BETA = 2.0
    cfg.MODEL.GFOCAL.QFL_WEIGHT = 1.0
    cfg.MODEL.GFOCAL.LOC_WEIGHT = 2.0
    cfg.MODEL.GFOCAL.DFL_WEIGHT = 0.25


def _add_sparse_rcnn(cfg: CN) -> None:
    # Sparse R-CNN, the actor head of WOO (Table 2; "SparseRCNNProposals"); values of its paper.
    cfg.MODEL.SPARSE_RCNN = CN()
    cfg.MODEL.SPARSE_RCNN.IN_FEATURES = ["p3", "p4", "p5"]
    # Learned proposals a clip, and stages that refine them (fewer for small models).
    cfg.MODEL.SPARSE_RCNN.NUM_PROPOSALS = 100
    cfg.MODEL.SPARSE_RCNN.NUM_STAGES = 6
    # Channels of the dynamic convolution and of the feed-forward layer (a proposal's feature has those
    # of the FPN); attention heads; layers before class and box.
    cfg.MODEL.SPARSE_RCNN.DYNAMIC_DIM = 64
    cfg.MODEL.SPARSE_RCNN.FEEDFORWARD_DIM = 2048
    cfg.MODEL.SPARSE_RCNN.NUM_HEADS = 8
    cfg.MODEL.SPARSE_RCNN.NUM_CLS_LAYERS = 1
    cfg.MODEL.SPARSE_RCNN.NUM_REG_LAYERS = 3
    # ROIAlign: output size and samples a bin.
    cfg.MODEL.SPARSE_RCNN.POOLER_RESOLUTION = 7
    cfg.MODEL.SPARSE_RCNN.POOLER_SAMPLING_RATIO = 2
    cfg.MODEL.SPARSE_RCNN.PRIOR_PROB = 0.01
    # Weights of focal, L1 (boxes divided by the clip's size) and GIoU, in the match and in the loss.
    cfg.MODEL.SPARSE_RCNN.CLS_WEIGHT = 2.0
    cfg.MODEL.SPARSE_RCNN.L1_WEIGHT = 5.0
    cfg.MODEL.SPARSE_RCNN.GIOU_WEIGHT = 2.0


def _add_action_head(cfg: CN) -> None:
    cfg.MODEL.ROI_ACTION_HEAD = CN()
    # Columns of the action scores; column = id in the label map - 1 (AVA: 80).
    cfg.MODEL.ROI_ACTION_HEAD.NUM_CLASSES = 80
    # Feature that is pooled; its stride gives ROIAlign's scale.
    cfg.MODEL.ROI_ACTION_HEAD.IN_FEATURE = "res5"
    # ROIAlign: output size (release: 8; PySlowFast: 7) and samples a bin (0: adaptive).
    cfg.MODEL.ROI_ACTION_HEAD.POOLER_RESOLUTION = 8
    cfg.MODEL.ROI_ACTION_HEAD.POOLER_SAMPLING_RATIO = 0
    # ROIAlign without its half-pixel error (release); False: with it, as pytorchvideo's detection models and
    # PySlowFast's published ones were trained. The two lie half a cell of the feature apart.
    cfg.MODEL.ROI_ACTION_HEAD.POOLER_ALIGNED = True
    # Predictor of ROI_ACTION_PREDICTOR_REGISTRY: "LinearActionHead" (paper), "ACRNActionHead" (Table 7) or
    # "RelationMapActionHead" (ACRN as mmaction2 trains it).
    cfg.MODEL.ROI_ACTION_HEAD.NAME = "LinearActionHead"
    # Pooling over time before ROIAlign: "avg" (release) or "max"; over space: "max" or "avg".
    cfg.MODEL.ROI_ACTION_HEAD.TEMPORAL_POOL = "avg"
    cfg.MODEL.ROI_ACTION_HEAD.SPATIAL_POOL = "max"
    # Dropout before the classifier (release: 0.5), on the pooled vector or, before spatial pooling, on
    # every cell of the actor's map (release: True).
    cfg.MODEL.ROI_ACTION_HEAD.DROPOUT = 0.5
    cfg.MODEL.ROI_ACTION_HEAD.DROPOUT_BEFORE_POOL = False
    # Concatenate the pooled whole frame to each actor's feature (release: True; the paper adds
    # no module).
    cfg.MODEL.ROI_ACTION_HEAD.WITH_CONTEXT = False
    # Hidden layers (linear, ReLU) as wide as the feature before the last linear one (paper: 0; mmaction2's MLP head: 1).
    cfg.MODEL.ROI_ACTION_HEAD.HIDDEN_LAYERS = 0
    # From logits to scores: "sigmoid", several actions at once (paper), or "softmax", exactly one (MultiSports).
    cfg.MODEL.ROI_ACTION_HEAD.ACTIVATION = "sigmoid"
    # ACRN: channels of the relation maps, 0: a quarter of the pooled feature's, with "RelationMapActionHead" all of
    # them; its 3x3 convolutions (ours).
    cfg.MODEL.ROI_ACTION_HEAD.ACRN_DIM = 0
    cfg.MODEL.ROI_ACTION_HEAD.ACRN_CONVS = 1
    # Focal form of L_ac: alpha (1 - p_t)^gamma times the cross entropy; gamma 0 and alpha 1: none (paper;
    # mmaction2's variant: 1 and 3).
    cfg.MODEL.ROI_ACTION_HEAD.FOCAL_GAMMA = 0.0
    cfg.MODEL.ROI_ACTION_HEAD.FOCAL_ALPHA = 1.0
    # Weight of the action loss L_ac: the paper's lambda_cls (section 4.1, Table 4: 10).
    cfg.MODEL.ROI_ACTION_HEAD.LOSS_WEIGHT = 10.0
    # A proposal with at least this IoU takes the labels of its ground-truth box; others are
    # ignored (paper, section 4.1: 0.5).
    cfg.MODEL.ROI_ACTION_HEAD.POSITIVE_IOU = 0.5
    # Most positive boxes a clip in the loss, drawn at random; 0: all (paper; release: 32).
    cfg.MODEL.ROI_ACTION_HEAD.POSITIVES_PER_CLIP = 0
    # Which boxes train the action head: "proposals" (paper), "gt" (Table 3, "GT only") or
    # "external" (person boxes of a file).
    cfg.MODEL.ROI_ACTION_HEAD.TRAIN_BOXES = "proposals"
    # Which boxes are classified in inference: "proposals", "gt" (action head alone) or "external".
    cfg.MODEL.ROI_ACTION_HEAD.TEST_BOXES = "proposals"
    # Append the ground truth to the training proposals (release: True).
    cfg.MODEL.ROI_ACTION_HEAD.APPEND_GT = True
    # Multiply the action scores of a detection with its person score (paper and release: False).
    cfg.MODEL.ROI_ACTION_HEAD.SCORE_WITH_PERSON = False
    # Action scores below this are not reported (paper: 0.002).
    cfg.MODEL.ROI_ACTION_HEAD.SCORE_THRESH_TEST = 0.002
    # Std of the normal initialisation of the last linear layer; 0: Xavier (paper).
    cfg.MODEL.ROI_ACTION_HEAD.INIT_STD = 0.0


def _add_other_heads(cfg: CN) -> None:
    # Heads of other papers of Table 1, by MODEL.ROI_HEADS.NAME; boxes, pooling, loss and scores are those of
    # MODEL.ROI_ACTION_HEAD. "ActionTransformerROIHeads": Video Action Transformer (values of its paper).
    cfg.MODEL.ACTION_TRANSFORMER = CN()
    # Channels, units one after another, and attention heads of a unit.
    cfg.MODEL.ACTION_TRANSFORMER.DIM = 128
    cfg.MODEL.ACTION_TRANSFORMER.NUM_UNITS = 3
    cfg.MODEL.ACTION_TRANSFORMER.NUM_HEADS = 2
    # Channels that tell where and when a position lies (ours), and dropout in the units (ours).
    cfg.MODEL.ACTION_TRANSFORMER.LOCATION_DIM = 64
    cfg.MODEL.ACTION_TRANSFORMER.DROPOUT = 0.3
    # "CropROIHeads": Context-aware RCNN. Side of the square that an actor's crop is resized to, in pixels (its paper:
    # 224), and how many times as wide and high as the box the crop is (ours).
    cfg.MODEL.ACTOR_CROPS = CN()
    cfg.MODEL.ACTOR_CROPS.SIZE = 224
    cfg.MODEL.ACTOR_CROPS.SCALE = 1.5
    # "FeatureBankROIHeads": LFB with its operator FBO-NL (values of its paper). Channels, layers and dropout of the
    # operator; how far an actor looks before and after, in s.
    cfg.MODEL.FEATURE_BANK = CN()
    cfg.MODEL.FEATURE_BANK.DIM = 512
    cfg.MODEL.FEATURE_BANK.NUM_LAYERS = 2
    cfg.MODEL.FEATURE_BANK.DROPOUT = 0.2
    cfg.MODEL.FEATURE_BANK.SECONDS = 30.0
    # From this share of the training on there is a bank, filled by one pass over the training films and anew so
    # many times in all until the end (ours; its paper fills it once, with another network that was trained before).
    cfg.MODEL.FEATURE_BANK.START = 0.5
    cfg.MODEL.FEATURE_BANK.FILLS = 2
    # "WOOROIHeads": WOO's head on Sparse R-CNN's proposals. Channels of features and embeddings, of the dynamic
    # convolution, attention heads (Sparse R-CNN's values), and steps of the temporal feature (ours).
    cfg.MODEL.WOO = CN()
    cfg.MODEL.WOO.DIM = 256
    cfg.MODEL.WOO.DYNAMIC_DIM = 64
    cfg.MODEL.WOO.NUM_HEADS = 8
    cfg.MODEL.WOO.TIME_STEPS = 4


def _add_person_detector(cfg: CN) -> None:
    # A person detector in front of the action network, for videos and TEST_BOXES "external".
    cfg.MODEL.PERSON_DETECTOR = CN()
    # "torchvision", "detectron2", "transformers", "csv" (boxes of a file) or a registered name; "": none.
    cfg.MODEL.PERSON_DETECTOR.NAME = ""
    # Which one: a name of that library's zoo, a folder, or with "csv" the file of boxes.
    cfg.MODEL.PERSON_DETECTOR.MODEL = ""
    # File of its weights; "": the library's own, where it has an API for that; "random": none, for tests.
    cfg.MODEL.PERSON_DETECTOR.WEIGHTS = ""
    # Least score of a person (PySlowFast's AVA configs test with boxes from 0.8 on, mmaction2's from 0.9 on).
    cfg.MODEL.PERSON_DETECTOR.SCORE_THRESH = 0.8
    # Boxes that overlap a better one by more than this IoU are dropped (detectron2's Faster R-CNN: 0.5).
    cfg.MODEL.PERSON_DETECTOR.NMS_THRESH = 0.5
    # People kept a key frame, best first (ours).
    cfg.MODEL.PERSON_DETECTOR.MAX_PEOPLE = 100


def _add_solver(cfg: CN) -> None:
    # "SGD" (paper) or "AdamW" (transformers, small models).
    cfg.SOLVER.OPTIMIZER = "SGD"
    # Learning rate of each layer of a plain transformer, as a share of that of the layer after it; the heads have
    # BASE_LR (mmaction2's VideoMAE: 0.75 for B, 0.8 for L); 1: the same everywhere.
    cfg.SOLVER.LAYER_DECAY = 1.0
    # Parts of the model that are not trained, by name: ["backbone", "roi_heads.predictor"]. No gradient, no weight
    # decay, batch norm and dropout as in evaluation (ours).
    cfg.SOLVER.FREEZE = []
    # Largest total norm of the gradient; 0: no clipping (release: 40).
    cfg.SOLVER.CLIP_TOTAL_NORM = 40.0
    # A loss that is not finite: "raise" (after writing what is needed to debug it) or "skip".
    cfg.SOLVER.ON_NONFINITE = "raise"
    # Reproducible results on a GPU too, where operations allow it; slower (CPUs are always reproducible).
    cfg.SOLVER.DETERMINISTIC = False


def _add_semisup(cfg: CN) -> None:
    cfg.SEMISUP = CN()
    # Mean-teacher training on the frames between key frames (paper, section 3.4).
    cfg.SEMISUP.ENABLED = False
    # Strategy of PSEUDO_LABELER_REGISTRY: "TLA", or Table 5's "EMA", "HardThreshold",
    # "PerClassThreshold"; ours: "ActorTLA", "SoftTLA", "AgreementTLA", "TrackTLA", "DenseTLA", and without a teacher
    # "NearestKeyFrame", "InterpolatedUnion", "InterpolatedIntersection" (docs/tla.md).
    cfg.SEMISUP.PSEUDO_LABELER = "TLA"
    # Supervised iterations before the teacher starts (paper: 20k of 60k).
    cfg.SEMISUP.BURN_IN_ITERS = 20000
    # Unlabelled clips per labelled clip of a batch (paper: 1:1).
    cfg.SEMISUP.UNLABELED_RATIO = 1.0
    # lambda_unsup of Eq. 4 (paper, Table 4: 0.5).
    cfg.SEMISUP.LOSS_WEIGHT = 0.5
    # Weight of the localisation losses within L_unsup (paper, Eq. 5: 1; release: 0, L_ac alone).
    cfg.SEMISUP.LOC_LOSS_WEIGHT = 1.0
    # EMA decay, and the ramp min(decay, (1 + k) / (10 + k)) over the first updates (release).
    cfg.SEMISUP.EMA_DECAY = 0.999
    cfg.SEMISUP.EMA_RAMP = True
    # Weights of the three costs of Eq. 6 (paper: 1, 1, 1).
    cfg.SEMISUP.COST_BCE = 1.0
    cfg.SEMISUP.COST_L1 = 1.0
    cfg.SEMISUP.COST_GIOU = 1.0
    # Person score and NMS of the teacher's boxes (paper: as in testing).
    cfg.SEMISUP.TEACHER_SCORE_THRESH = 0.4
    cfg.SEMISUP.TEACHER_NMS_THRESH = 0.3
    cfg.SEMISUP.TEACHER_MAX_BOXES = 10
    # Precision in which the teacher finds people: "float32", "bfloat16" or "float16"; "": as the student trains
    # (SOLVER.AMP.ENABLED: float16). Its weights are averaged in float32 (ours).
    cfg.SEMISUP.TEACHER_DTYPE = ""
    # Times between two key frames at which the teacher detects once, at the end of burn-in, for "TrackTLA" (ours).
    cfg.SEMISUP.LOOKS = 4
    # Score above which a class is a pseudo label under "HardThreshold" (ours).
    cfg.SEMISUP.HARD_THRESHOLD = 0.5
    # Smallest distance of an unlabelled centre from a key frame, in seconds (release: 1 frame).
    cfg.SEMISUP.MIN_OFFSET = 1.0 / 30.0
    # Key frames further apart than this, in seconds, are not neighbours (AVA: 1 s apart).
    cfg.SEMISUP.MAX_GAP = 1.5


def _add_test(cfg: CN) -> None:
    # Clips a step in evaluation.
    cfg.TEST.BATCH_SIZE = 1
    # In mode "pass", the clips of each film that are computed by themselves as well, to bring the features of the pass to
    # those of clips by a factor for each channel and step; 0: none (ours; docs/performance.md).
    cfg.TEST.PASS_CALIBRATION_CLIPS = 4
    # Frame-mAP protocols to report: "activitynet" (today's official one, the first is the main
    # figure), "slowfast" (most published numbers), "release" (the paper's release) and "mmaction2" (its own
    # averaging). All use IoU 0.5.
    cfg.TEST.PROTOCOLS = ["activitynet", "slowfast"]
    # Report the first protocol at IoU 0.75 (mAP75) and its mean over 0.5, 0.55, ... 0.95 (mAP50:95) too (EVAD).
    cfg.TEST.STRICTER_IOUS = False
    # What judges each dataset of DATASETS.TEST, by name: "AVAEvaluator" (frame-mAP and person AP of a csv of key
    # frames), "TubeEvaluator" (tubes: video-mAP and frame-mAP; docs/tubes.md).
    cfg.TEST.EVALUATORS = ["AVAEvaluator"]
    # Of TubeEvaluator: protocols (the first is the main figure), the linker that makes tubes of detections, and
    # the smallest action score of a detection.
    cfg.TEST.TUBES = CN()
    cfg.TEST.TUBES.PROTOCOLS = ["ours"]
    cfg.TEST.TUBES.LINKER = "ours"
    cfg.TEST.TUBES.SCORE_THRESH = 0.01
    # Of the tube datasets (ucf101_24, jhmdb, multisports): every so many frames are key frames.
    cfg.DATASETS.KEYFRAME_STEP_TRAIN = 1
    cfg.DATASETS.KEYFRAME_STEP_TEST = 1
    # Folder or file of person boxes for TRAIN_BOXES / TEST_BOXES "external": csv or pkl, one per
    # dataset, in the order of DATASETS.TRAIN / TEST.
    cfg.DATASETS.PERSON_BOXES_TRAIN = ()
    cfg.DATASETS.PERSON_BOXES_TEST = ()
    # Smallest person score of an external box (release: 0.9 in training), and of a detector's boxes in a dataset
    # with PERSONS_ONLY.
    cfg.DATASETS.PERSON_BOX_SCORE = 0.8
    # Custom datasets without code: a list of {NAME, VIDEOS, ANNOTATIONS, LABEL_MAP} and
    # optional EXCLUDE, START (timestamp of a file's first frame), FPS (of folders of frames), DENSE,
    # FLIP_PAIRS, FRAME_LIST (of the pictures below VIDEOS), PERSONS_ONLY (boxes of people without actions, of which
    # the person head learns alone; no LABEL_MAP); START and FPS may be a csv with a row for each video; see
    # datasets/README.md.
    cfg.DATASETS.CUSTOM = []
