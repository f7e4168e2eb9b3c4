CREATE TABLE q22 (auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, dir1 VARCHAR,
    dir2 VARCHAR, dir3 VARCHAR) WITH (${sink});

INSERT INTO q22
SELECT auction, bidder, price, channel, SPLIT_INDEX(url, '/', 3) as dir1, SPLIT_INDEX(url, '/',
    4) as dir2, SPLIT_INDEX(url, '/', 5) as dir3 FROM bid;
